"""Debian's packages as data: what is fetched, and what it is like without network or Debian."""

import os
from pathlib import Path

import pytest

from autoprune._debian import unpack

DPKG = '#!/bin/sh\nmkdir usr && cp "$2" usr/data\n'


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder whose programs are found first, and where they tell what was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    write(folder / "dpkg", DPKG)
    return folder


def write(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)


def apt_get(folder: Path, download: str) -> None:
    write(folder / "apt-get", f'#!/bin/sh\necho "$*" >> {folder}/calls\n{download}\n')


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_a_package_is_unpacked_and_not_kept(programs: Path, tmp_path: Path) -> None:
    apt_get(programs, "echo pictures > ${2}_1.0_all.deb")
    home = tmp_path / "home"
    home.mkdir()
    assert unpack("some-data", home)
    assert (home / "usr" / "data").read_text() == "pictures\n"
    assert [path.name for path in home.iterdir()] == ["usr"]
    assert calls(programs) == ["download some-data"]


def test_lists_of_packages_are_updated_where_they_lack_it(programs: Path, tmp_path: Path) -> None:
    known = programs / "known"
    apt_get(
        programs,
        f'if [ "$1" = update ]; then touch {known}; exit; fi\n'
        f"[ -e {known} ] && echo pictures > ${{2}}_1.0_all.deb",
    )
    assert unpack("some-data", tmp_path)
    assert calls(programs) == ["download some-data", "update", "download some-data"]


def test_offline_nothing_is_unpacked(programs: Path, tmp_path: Path) -> None:
    apt_get(programs, "exit 100")
    assert not unpack("some-data", tmp_path)
    assert not (tmp_path / "usr").exists()


def test_a_broken_package_is_told(programs: Path, tmp_path: Path) -> None:
    apt_get(programs, "echo pictures > ${2}_1.0_all.deb")
    write(programs / "dpkg", "#!/bin/sh\nexit 2\n")
    assert not unpack("some-data", tmp_path)


def test_elsewhere_than_on_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not unpack("some-data", tmp_path)
