"""Rules that no linter knows."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import autoprune

CHECKOUT = Path(__file__).parents[2]
MODULES = sorted((CHECKOUT / "autoprune").rglob("*.py"))
TEST_FILES = sorted((CHECKOUT / "tests").rglob("test_*.py"))


def test_importing_autoprune_imports_nothing_heavy() -> None:
    heavy = {"torch", "ray", "optuna", "sqlalchemy", "sklearn", "onnx"}
    code = "import sys, autoprune; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy.isdisjoint(done.stdout.split())


def test_importing_autoprune_changes_no_global_state() -> None:
    code = (
        "import logging, os, random, signal, sys, warnings\n"
        "def state(): return (random.getstate(), warnings.filters[:], logging.root.handlers[:],"
        " dict(os.environ), sys.path[:], signal.getsignal(signal.SIGTERM))\n"
        "before = state(); import autoprune; assert state() == before"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_third_party_import_is_declared() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {}).values()
    requirements = [*project["dependencies"], *(one for extra in extras for one in extra)]
    declared = {canonicalize_name(Requirement(text).name) for text in requirements}
    owners = packages_distributions()
    undeclared = {
        f"{module.relative_to(CHECKOUT)}: {name}"
        for module in MODULES
        for name in _third_party(module)
        if declared.isdisjoint(canonicalize_name(owner) for owner in owners.get(name, [name]))
    }
    assert undeclared == set()


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_every_test_file_asserts_something(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    raises = [n for n in nodes if isinstance(n, ast.Attribute) and n.attr in ("raises", "warns")]
    assert raises or any(isinstance(node, ast.Assert) for node in nodes)


def test_the_version_is_the_one_at_the_top_of_the_changelog() -> None:
    changelog = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", changelog, flags=re.MULTILINE)
    assert versions[0] == autoprune.__version__


@pytest.mark.parametrize("folder", ["dashboards", "runners", "search_spaces"])
def test_data_folders_hold_no_python(folder: str) -> None:
    assert [path.name for path in (CHECKOUT / folder).rglob("*.py")] == []


def _third_party(module: Path) -> Iterator[str]:
    """Yield the top-level name of everything that ``module`` imports from elsewhere."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imported = [node.module]
        else:
            continue
        for name in {name.partition(".")[0] for name in imported}:
            if name != "autoprune" and name not in sys.stdlib_module_names:
                yield name
