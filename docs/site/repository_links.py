"""A hook of MkDocs: what pages link to in the repository, outside of ``docs``, is in the site too.

Pages are read on the forge and in the site, so they link to files as they lie in the repository.
Linked Markdown (``examples/digits/README.md``) becomes a page, any other file is copied. A comment
``<!-- include README.md: Try it -->`` is replaced by that section. Links that are called like a
file of ``docs`` lose path and suffix.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"(?<=\[)(?:docs/)?(\w+)\.md(?=\]\()")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)#\s]+)")
INCLUDE = re.compile(r"^<!-- include (\S+): (.+) -->$", re.MULTILINE)
HOMES = {"README.md": "index.md"}  # whose place in the site another page takes


def on_files(files: Files, config: Any) -> Files:
    """Add to the site what its pages link to, and what that links to."""
    pages = [file for file in files.documentation_pages()]
    while pages:
        page = pages.pop()
        for target in _linked(page.content_string, _home(page.src_uri)):
            place = _place(target)
            if files.get_file_from_path(place) or not (ROOT / target).is_file():
                continue  # MkDocs tells of those that are not there
            added = File.generated(config, place, abs_src_path=str(ROOT / target))
            files.append(added)
            if added.is_documentation_page():
                pages.append(added)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Include sections, and turn links of the repository into links of the site."""
    here = page.file.src_uri

    def included(match: re.Match[str]) -> str:
        text = section((ROOT / match[1]).read_text(encoding="utf-8"), match[2])
        return _relinked(text, home=match[1], place=here)

    text = INCLUDE.sub(included, _relinked(markdown, home=_home(here), place=here))
    return NAMED.sub(lambda match: match[1].replace("_", " "), text)


def section(text: str, title: str) -> str:
    """Return what stands below the heading ``title`` of a page; ``top`` is what precedes them all.

    Raises:
        PluginError: If there is no such heading.
    """
    if title == "top":
        return text.partition("\n## ")[0].partition("\n")[2].strip()
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise PluginError(f"There is no heading '## {title}' to be included.")
    return found[1].strip()


def _home(place: str) -> str:
    """Return where in the repository a page of the site lies."""
    return place if (ROOT / place).exists() else f"docs/{place}"


def _place(target: str) -> str:
    """Return where in the site a file of the repository lies."""
    return HOMES.get(target, target.removeprefix("docs/"))


def _linked(text: str, home: str) -> Iterator[str]:
    for link in LINK.findall(text):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(home), link))
    for source, title in INCLUDE.findall(text):
        yield from _linked(section((ROOT / source).read_text(encoding="utf-8"), title), source)


def _relinked(text: str, home: str, place: str) -> str:
    """Return ``text`` of the file ``home`` with links as they hold on the page ``place``."""

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(home), match[1]))
        return posixpath.relpath(_place(target), posixpath.dirname(place) or ".")

    return LINK.sub(moved, text)
