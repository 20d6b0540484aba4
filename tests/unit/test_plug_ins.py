"""Methods of other packages: found by entry points, imported late, told apart."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoprune.agent.samplers.names import SAMPLERS
from autoprune.core.registry import Registry
from autoprune.errors import ConfigError
from autoprune.methods import CRITERIA, find_method, method_names

GROUP = "autoprune.methods"
MODULE = """
import torch
class Mine:
    kinds = ("channel", "head")
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
    assert "mine.order" in CRITERIA
    assert "l1" in list(CRITERIA)
    assert list(CRITERIA) == sorted(CRITERIA)
    assert CRITERIA.origin("mine.order") == "fake_plug_in 1.2"
    assert CRITERIA.origin("l1") == "autoprune"
    found: Any = CRITERIA.get("mine.order")
    assert found is sys.modules["fake_plug_in"].mine


def test_it_is_imported_only_when_it_is_asked_for(install: Installer) -> None:
    install("fake_lazy", MODULE, "mine.order = fake_lazy:mine")
    assert CRITERIA.get("l1")
    assert "mine.order" in list(CRITERIA)
    assert "fake_lazy" not in sys.modules
    CRITERIA.get("mine.order")
    assert "fake_lazy" in sys.modules


def test_a_near_miss_of_a_plug_in_is_suggested(install: Installer) -> None:
    install("fake_named", MODULE, "mine.order = fake_named:mine")
    with pytest.raises(ConfigError, match=r"'mine\.odrer'\. Did you mean 'mine\.order'"):
        CRITERIA.get("mine.odrer")


def test_a_plug_in_is_a_method_of_the_structures_it_fits(install: Installer) -> None:
    install("fake_method", MODULE, "mine.order = fake_method:mine")
    assert {"channel.mine.order", "head.mine.order"} < set(method_names())
    assert "fake_method" not in sys.modules  # listing imports nothing
    found = find_method("head.mine.order")
    assert (found.criterion_name, found.origin) == ("mine.order", "fake_method 1.2")
    with pytest.raises(ConfigError, match="cannot rank single weights"):
        find_method("2:4.mine.order")


def test_a_plug_in_for_weights_needs_scores_of_elements(install: Installer) -> None:
    module = MODULE.replace('"head")', '"weights")')
    install("fake_element", module, "mine.order = fake_element:mine")
    assert find_method("channel.mine.order")
    with pytest.raises(ConfigError, match=r"fake_element 1\.2 .*no method 'elements'"):
        find_method("unstructured.mine.order")


@pytest.mark.parametrize(
    ("module", "value", "message"),
    [
        ("x = 1 / 0", "fake_broken:x", "ZeroDivisionError: division by zero"),
        ("import no_such_xyz", "fake_broken:x", "No module named 'no_such_xyz'"),
        ("raise SystemExit(3)", "fake_broken:x", "SystemExit: 3"),
        ("", "fake_broken:x", "has no attribute 'x'"),
        (MODULE, "fake_broken:Mine", "leads to the class 'Mine'"),
        ("x = 3", "fake_broken:x", "it has no kinds, needs_gradients, chunk, paper, score"),
    ],
)
def test_a_broken_plug_in_is_named_with_its_distribution(
    install: Installer, module: str, value: str, message: str
) -> None:
    install("fake_broken", module, f"mine.order = {value}")
    with pytest.raises(ConfigError, match=r"'mine\.order' of fake_broken 1\.2") as caught:
        CRITERIA.get("mine.order")
    assert message in str(caught.value)
    assert CRITERIA.get("l1")  # the others still work
    assert "mine.order" in list(CRITERIA)


def test_a_name_that_is_ours_is_refused(install: Installer) -> None:
    install("fake_thief", MODULE, "l1 = fake_thief:mine")
    for use in (lambda: CRITERIA.get("l1"), lambda: list(CRITERIA)):
        with pytest.raises(ConfigError, match=r"fake_thief 1\.2 declares .*autoprune has already"):
            use()


def test_a_name_that_another_plug_in_has_is_refused(install: Installer) -> None:
    install("fake_one", MODULE, "mine.order = fake_one:mine")
    install("fake_two", MODULE, "mine.order = fake_two:mine")
    with pytest.raises(ConfigError, match=r"fake_one 1\.2") as caught:
        CRITERIA.get("mine.order")
    assert "fake_two 1.2" in str(caught.value)


def test_a_registry_without_a_group_knows_its_own_alone(install: Installer) -> None:
    install("fake_other", MODULE, "mine.order = fake_other:mine")
    registry: Registry[int] = Registry("number")
    registry.add("one", 1)
    assert list(registry) == ["one"]
    assert registry.get("one") == 1
    with pytest.raises(ConfigError, match="There is a number 'one' already"):
        registry.add("one", 2)


def test_samplers_are_plug_ins_too(install: Installer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "GROUP", "autoprune.samplers")
    module = "from autoprune.agent.samplers.names import budgeted\nmine = budgeted()\n"
    install("fake_sampler", module, "mine = fake_sampler:mine")
    assert "mine" in SAMPLERS
    assert SAMPLERS.get("mine").uses_errors
    assert SAMPLERS.origin("mine") == "fake_sampler 1.2"
