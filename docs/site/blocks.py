"""The blocks of code of a page, and what is said of those that do not run in a test.

A comment above a block says what is not run, and why: all of it, or the lines with a word.

    <!-- not run: needs a cluster -->
    <!-- not run (--runner ray): listens on all interfaces -->
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

MARK = re.compile(r"<!-- not run(?: \(([^)]+)\))?: (.+?) -->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        place: Page and line.
        language: The word after the fence.
        title: Name of the file that it is, if it says so.
        text: What is in it.
        marks: Words, empty for the whole block, and reasons not to run what holds them.
    """

    place: str
    language: str
    title: str
    text: str
    marks: tuple[tuple[str, str], ...]

    def left_out(self, line: str = "") -> bool:
        """Tell whether a line of it is not run, or nothing of it."""
        return any(word in line for word, _ in self.marks)


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page, in their order."""
    above = ""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "fence":
            language, _, rest = token.info.partition(" ")
            title = re.search(r'title="(.+?)"', rest)
            place = f"{page.name}:{(token.map or [0])[0] + 1}"
            marks = tuple((word, reason) for word, reason in MARK.findall(above))
            yield Block(place, language, title[1] if title else "", token.content, marks)
        above = above + token.content if token.type == "html_block" else ""
