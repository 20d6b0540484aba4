"""Keeps passwords and tokens in addresses out of what people look at."""

import re
from collections.abc import Mapping
from typing import Any

from autoprune.storage.engine import redact

_URL = re.compile(r"[a-zA-Z][\w+.-]*://\S+")


def without_secrets(content: Any) -> Any:
    """Return plain JSON types with the secrets of every URL in their texts starred out."""
    if isinstance(content, str):
        return _URL.sub(lambda found: redact(found.group()), content)
    if isinstance(content, Mapping):
        return {key: without_secrets(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_secrets(value) for value in content]
    return content
