"""The wheel holds what it should, and works where there is no checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

CHECKOUT = Path(__file__).parents[2]
PACKED_SUFFIXES = {".py", ".typed", ".json", ".mako", ".yaml", ".md", ".html", ".j2"}
DATA_FOLDERS = ("dashboards", "runners", "search_spaces")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel built from a clean copy of what git tracks or does not ignore."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in _run("git", "ls-files", "-co", "--exclude-standard", cwd=CHECKOUT).splitlines():
        if (CHECKOUT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, source / name)
    command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder))
    _run(*command, cwd=source)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the ``bin`` of a fresh environment with the wheel; dependencies are borrowed.

    A path file lends it the packages of the environment that runs this test, so that nothing is
    downloaded; the wheel comes first on the path.
    """
    home = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", "--without-pip", str(home), cwd=home)
    here = sysconfig.get_path("purelib")
    there = Path(sysconfig.get_path("purelib", "venv", {"base": str(home)}))
    (there / "borrowed.pth").write_text(here, encoding="utf-8")
    python = home / "bin" / "python"
    _run(str(python), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel), cwd=home)
    return home / "bin"


def test_the_wheel_holds_the_package_and_the_data_folders(wheel: Path) -> None:
    folders = ("autoprune", *DATA_FOLDERS)
    listing = _run("git", "ls-files", "-co", "--exclude-standard", *folders, cwd=CHECKOUT)
    files = [name for name in listing.splitlines() if (CHECKOUT / name).is_file()]
    expected = {
        name if name.startswith("autoprune/") else f"autoprune/_data/{name}" for name in files
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == expected
    assert {f"autoprune/_data/{folder}/README.md" for folder in DATA_FOLDERS} < packed
    assert {Path(name).suffix for name in packed} <= PACKED_SUFFIXES


def test_the_wheel_carries_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        assert len(licences) == 1
        assert b"Apache License" in archive.read(licences[0])


def test_the_installed_package_is_the_wheel_and_finds_its_files(
    installed: Path, tmp_path: Path
) -> None:
    code = (
        "import autoprune; from autoprune._resources import resource; "
        "print(autoprune.__file__); print(resource('runners', 'local.yaml'))"
    )
    package, runner = _run(str(installed / "python"), "-c", code, cwd=tmp_path).splitlines()
    assert Path(package).is_relative_to(installed.parent)
    assert Path(runner) == Path(package).parent / "_data" / "runners" / "local.yaml"


def test_the_installed_command_helps(installed: Path, tmp_path: Path) -> None:
    assert "search" in _run(str(installed / "autoprune"), "--help", cwd=tmp_path)


def test_the_installed_command_searches_the_digits(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "examples" / "digits", tmp_path / "digits")
    command = (str(installed / "autoprune"), "search", "digits/search.yaml", "--json")
    printed = json.loads(_run(*command, "--trials", "4", "--out", "result", cwd=tmp_path))
    written = json.loads((tmp_path / "result" / "result.json").read_text(encoding="utf-8"))
    assert written["pruned"]["macs"] <= written["dense"]["macs"] // 2
    assert written["checks"]["budget_met"]
    assert printed["pruned"] == written["pruned"]


def _run(*command: str, cwd: Path) -> str:
    """Run ``command`` in ``cwd`` as a stranger would; return stdout, or fail with stderr."""
    strange = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=strange, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
