"""Keeps passwords and tokens in addresses out of what people look at."""

from collections.abc import Mapping
from typing import Any

from autoprune.core.secrets import URL, redact


def without_secrets(content: Any) -> Any:
    """Return plain JSON types with the secrets of every URL in their texts starred out."""
    if isinstance(content, str):
        return URL.sub(lambda found: redact(found.group()), content)
    if isinstance(content, Mapping):
        return {key: without_secrets(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_secrets(value) for value in content]
    return content
