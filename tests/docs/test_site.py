"""The documentation as a site: built strictly, from the code as it is, and without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / "docs"
FETCHED = re.compile(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["'](?:https?:)?//[^"']+""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site; a link that leads nowhere fails it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(list(DOCS.glob("*.md")))
    fetched = {page.name: FETCHED.findall(page.read_text(encoding="utf-8")) for page in pages}
    assert {name: found for name, found in fetched.items() if found} == {}


def test_sections_of_the_readme_are_included(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    assert "make demo" in start
    assert "<!-- include" not in start


def test_pictures_are_part_of_their_page(site: Path) -> None:
    concepts = (site / "concepts.html").read_text(encoding="utf-8")
    pictures = [path for path in DOCS.glob("pictures/*.svg") if path.name != "icon.svg"]
    assert concepts.count('<svg role="img" aria-label=') == len(pictures)


def test_what_docstrings_say_is_on_the_page_of_the_api(site: Path) -> None:
    api = (site / "api.html").read_text(encoding="utf-8")
    assert 'id="autoprune.search"' in api
    assert "The pruned, fine-tuned model, in eval mode, on the CPU." in api


def test_pages_that_are_made_of_the_code_are_as_it_is() -> None:
    from docs.site.references import pages

    made = pages()
    assert made.keys() == {"cli.md", "search_file.md"}
    stale = [name for name in made if (DOCS / name).read_text(encoding="utf-8") != made[name]]
    assert stale == [], "run: python docs/site/references.py"
