"""Methods of other packages: found by entry points, imported late, told apart."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoprune.core.registry import Registry
from autoprune.errors import ConfigError
from autoprune.methods import METHODS

GROUP = "autoprune.methods"
MODULE = """
import torch
class Mine:
    needs_gradients, chunk, paper = False, None, "none"
    def score(self, unit, weights, gradients, rng):
        return torch.arange(unit.atoms, dtype=torch.float64)
mine = Mine()
"""


class Installer:
    """Writes tiny distributions into a folder on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def __call__(self, dist: str, module: str, *lines: str) -> None:
        info = self.folder / f"{dist}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
        (self.folder / f"{dist}.py").write_text(module)
        self.modules.append(dist)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installer]:
    monkeypatch.syspath_prepend(str(tmp_path))
    installer = Installer(tmp_path)
    yield installer
    for name in installer.modules:
        sys.modules.pop(name, None)


def test_a_plug_in_is_listed_and_found_like_our_own(install: Installer) -> None:
    install("fake_plug_in", MODULE, "mine.order = fake_plug_in:mine")
    assert "mine.order" in METHODS
    assert "channel.l1" in list(METHODS)
    assert list(METHODS) == sorted(METHODS)
    assert METHODS.origin("mine.order") == "fake_plug_in 1.2"
    assert METHODS.origin("channel.l1") == "autoprune"
    found: Any = METHODS.get("mine.order")
    assert found is sys.modules["fake_plug_in"].mine


def test_it_is_imported_only_when_it_is_asked_for(install: Installer) -> None:
    install("fake_lazy", MODULE, "mine.order = fake_lazy:mine")
    assert METHODS.get("channel.l1")
    assert "mine.order" in list(METHODS)
    assert "fake_lazy" not in sys.modules
    METHODS.get("mine.order")
    assert "fake_lazy" in sys.modules


def test_a_near_miss_of_a_plug_in_is_suggested(install: Installer) -> None:
    install("fake_named", MODULE, "mine.order = fake_named:mine")
    with pytest.raises(ConfigError, match=r"Unknown method 'mine\.odrer'. Did you mean 'mine\.or"):
        METHODS.get("mine.odrer")


@pytest.mark.parametrize(
    ("module", "value", "message"),
    [
        ("x = 1 / 0", "fake_broken:x", "ZeroDivisionError: division by zero"),
        ("import no_such_xyz", "fake_broken:x", "No module named 'no_such_xyz'"),
        ("raise SystemExit(3)", "fake_broken:x", "SystemExit: 3"),
        ("", "fake_broken:x", "has no attribute 'x'"),
        (MODULE, "fake_broken:Mine", "leads to the class 'Mine'"),
        ("x = 3", "fake_broken:x", "it has no needs_gradients, chunk, paper, score"),
    ],
)
def test_a_broken_plug_in_is_named_with_its_distribution(
    install: Installer, module: str, value: str, message: str
) -> None:
    install("fake_broken", module, f"mine.order = {value}")
    with pytest.raises(ConfigError, match=r"'mine\.order' of fake_broken 1\.2") as caught:
        METHODS.get("mine.order")
    assert message in str(caught.value)
    assert METHODS.get("channel.l1")  # the others still work
    assert "mine.order" in list(METHODS)


def test_a_name_that_is_ours_is_refused(install: Installer) -> None:
    install("fake_thief", MODULE, "channel.l1 = fake_thief:mine")
    for use in (lambda: METHODS.get("channel.l1"), lambda: list(METHODS)):
        with pytest.raises(ConfigError, match=r"fake_thief 1\.2 declares .*autoprune has already"):
            use()


def test_a_name_that_another_plug_in_has_is_refused(install: Installer) -> None:
    install("fake_one", MODULE, "mine.order = fake_one:mine")
    install("fake_two", MODULE, "mine.order = fake_two:mine")
    with pytest.raises(ConfigError, match=r"fake_one 1\.2") as caught:
        METHODS.get("mine.order")
    assert "fake_two 1.2" in str(caught.value)


def test_a_registry_without_a_group_knows_its_own_alone(install: Installer) -> None:
    install("fake_other", MODULE, "mine.order = fake_other:mine")
    registry: Registry[int] = Registry("number")
    registry.add("one", 1)
    assert list(registry) == ["one"]
    assert registry.get("one") == 1
    with pytest.raises(ConfigError, match="There is a number 'one' already"):
        registry.add("one", 2)
