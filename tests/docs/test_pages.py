"""What pages say of the code exists in the code."""

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import autoprune
from autoprune.reporting.tables import PlainConsole
from autoprune.reporting.terminal import print_report
from benchmarks.report.made import make_run
from docs.site.blocks import blocks
from docs.site.commands import check, commands

CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / "docs"
TROUBLE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
OTHERS = [CHECKOUT / "CONTRIBUTING.md", *sorted(CHECKOUT.glob("*/README.md"))]
OTHERS += sorted(CHECKOUT.glob("examples/*/README.md"))
QUOTED = re.findall(r"^### (.+)$", TROUBLE, flags=re.MULTILINE)


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: autoprune\.(\w+)$", text, re.MULTILINE)) == autoprune.__all__


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_commands_of_other_pages_exist(page: Path) -> None:
    lines = [
        line for one in blocks(page) if one.language == "sh" for line in one.text.splitlines()
    ]
    for line in lines:
        check(line)
        files = [word for words, _ in commands(line) for word in words if word.endswith(".yaml")]
        assert [file for file in files if not (CHECKOUT / file).is_file()] == []
    assert lines or "```sh" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("line", ["autoprune serch x.yaml", "autoprune units", "make coffee"])
def test_commands_that_do_not_exist_are_told(line: str) -> None:
    with pytest.raises(LookupError):
        check(line)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Return every text of the package, what is put into it being left out."""
    modules = (CHECKOUT / "autoprune").rglob("*.py")
    return [text for one in modules for text in _texts(ast.parse(one.read_text(encoding="utf-8")))]


@pytest.mark.parametrize("message", QUOTED)
def test_messages_that_are_explained_are_told_so(message: str, texts: list[str]) -> None:
    said = re.compile(".*".join(re.escape(part.strip()) for part in message.split("…")), re.DOTALL)
    assert [text for text in texts if said.search(text)]


def test_the_sample_that_the_readme_shows_is_what_a_search_prints(tmp_path: Path) -> None:
    result = make_run(tmp_path / "digits", 60, ("stem.0", "stage1.0.conv1"))
    stream = io.StringIO()
    print_report(result, Path("runs/digits"), PlainConsole(stream, 120))
    (sample,) = (one.text for one in blocks(CHECKOUT / "README.md") if one.language == "text")
    tables, _, rest = stream.getvalue().partition("Cuts")
    told, _, below = sample.partition("Cuts")
    assert _labels(told) == _labels(tables)
    head = "# evaluations, # k sample forwards, # s of scoring and training, summed over workers"
    for text in (rest, below):
        said = re.sub(r"[\d.]+", "#", " ".join(text.split()))
        assert head in said.replace(" (# stopped early)", "")
    assert below.splitlines()[-1] == rest.splitlines()[-1]


def _labels(text: str) -> list[str]:
    """Return the first column of tables."""
    return [re.split(r"\s{2,}", line)[0] for line in text.splitlines() if line.strip()]


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (one.value if isinstance(one, ast.Constant) else "" for one in node.values)
            yield "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
