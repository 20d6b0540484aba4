"""A hook of MkDocs: pictures become part of the page, and so take its colours, light or dark."""

import html
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
PICTURE = re.compile(r"^!\[([^\]]+)\]\((pictures/[\w-]+\.svg)\)$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the source of each picture in place of the link to it."""
    return PICTURE.sub(_inlined, markdown)


def _inlined(match: re.Match[str]) -> str:
    source = re.sub(r"\n\s*", " ", (DOCS / match[2]).read_text(encoding="utf-8")).strip()
    label = html.escape(match[1])
    told = source.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return f"<figure>{told}</figure>"  # a block that Markdown leaves as it is
