"""What pages say of the code exists in the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import autoprune

CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / "docs"
TROUBLE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^### (.+)$", TROUBLE, flags=re.MULTILINE)


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: autoprune\.(\w+)$", text, re.MULTILINE)) == autoprune.__all__


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Return every text of the package, what is put into it being left out."""
    modules = (CHECKOUT / "autoprune").rglob("*.py")
    return [text for one in modules for text in _texts(ast.parse(one.read_text(encoding="utf-8")))]


@pytest.mark.parametrize("message", QUOTED)
def test_messages_that_are_explained_are_told_so(message: str, texts: list[str]) -> None:
    said = re.compile(".*".join(re.escape(part.strip()) for part in message.split("…")), re.DOTALL)
    assert [text for text in texts if said.search(text)]


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (one.value if isinstance(one, ast.Constant) else "" for one in node.values)
            yield "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
