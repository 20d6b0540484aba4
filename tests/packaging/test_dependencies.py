"""What we depend on: it is listed, counted, and as old as we say at the oldest."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[2]
PYPROJECT = CHECKOUT / "pyproject.toml"
PROJECT = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(one).name) for one in requirements}


NEEDED = names(PROJECT["dependencies"])
EXTRAS = names([one for extra in PROJECT["optional-dependencies"].values() for one in extra])


def bounds(pyproject: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, ".ci/bounds.py", str(pyproject)]
    return subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True)


def test_the_page_on_security_lists_what_pyproject_does() -> None:
    page = (CHECKOUT / "docs" / "security.md").read_text(encoding="utf-8")
    table = page[page.index("## Dependencies") :]
    rows = re.findall(r"^\| ([\w.-]+) \| .+ \| .+ \|$", table, re.MULTILINE)
    listed = [row for row in rows if row not in ("package", "---")]
    assert len(listed) == len(set(listed))
    assert set(listed) == NEEDED | EXTRAS


def test_constraints_are_the_lower_bounds() -> None:
    done = bounds(PYPROJECT)
    assert done.returncode == 0, done.stderr
    found = [Requirement(line) for line in done.stdout.splitlines()]
    assert {canonicalize_name(one.name) for one in found} == NEEDED | EXTRAS
    pinned = {one.name: str(one.specifier) for one in found}
    assert pinned["torch"] == "==2.10"
    for text in PROJECT["dependencies"]:
        needed = Requirement(text)
        assert needed.specifier.contains(pinned[needed.name].removeprefix("==")), text


@pytest.mark.parametrize(
    ("needed", "part"),
    [
        (["a"], "'a' has no lower bound"),
        (["a<3"], "'a<3' has no lower bound"),
        (["a>=1", "a>=2"], "'a' has two lower bounds"),
    ],
)
def test_a_dependency_without_one_lower_bound_is_told(
    needed: list[str], part: str, tmp_path: Path
) -> None:
    text = f"[project]\ndependencies = {needed}\n[project.optional-dependencies]\n"
    (tmp_path / "pyproject.toml").write_text(text)
    done = bounds(tmp_path / "pyproject.toml")
    assert done.returncode != 0
    assert part in done.stderr


def test_the_bill_of_materials_is_valid_and_lists_what_we_need(tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"
    words = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(PYPROJECT)]
    words += ["--validate", "--output-reproducible", "--output-file", str(file), sys.executable]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["bomFormat"] == "CycloneDX"
    assert content["metadata"]["component"]["name"] == "autoprune"
    parts = {canonicalize_name(one["name"]): one["version"] for one in content["components"]}
    assert NEEDED <= parts.keys()
    assert all(parts[canonicalize_name(name)] for name in NEEDED)
