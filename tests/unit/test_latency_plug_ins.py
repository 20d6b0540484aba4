"""Runtimes of other packages are found by entry points, like criteria."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoprune.core.target import Target
from autoprune.cost.latency.device import this_device
from autoprune.cost.latency.runtimes import RUNTIMES, find_runtime
from autoprune.errors import ConfigError

MODULE = """
from autoprune.errors import ConfigError
class Mine:
    def check(self, target):
        if target.batch > 1:
            raise ConfigError("one sample at a time")
    def facts(self, target):
        return {"mine": "1.2"}
    def time_call(self, call, target):
        return None
    def open(self, model, inputs, target):
        raise NotImplementedError
mine = Mine()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    info = tmp_path / "fake_runtime-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake_runtime\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[autoprune.runtimes]\nmine = fake_runtime:mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("fake_runtime", None)


def test_a_runtime_of_another_package_measures_its_targets(folder: Path) -> None:
    (folder / "fake_runtime.py").write_text(MODULE)
    assert "mine" in RUNTIMES
    assert RUNTIMES.origin("mine") == "fake_runtime 1.2"
    assert "fake_runtime" not in sys.modules
    assert this_device(Target.parse("mine")).facts["mine"] == "1.2"
    with pytest.raises(ConfigError, match="one sample at a time"):
        find_runtime(Target.parse("mine/batch=2"))


def test_what_has_not_the_form_of_a_runtime_is_refused(folder: Path) -> None:
    (folder / "fake_runtime.py").write_text("mine = 3\n")
    with pytest.raises(
        ConfigError, match="is no runtime: it has no check, facts, time_call, open"
    ):
        find_runtime(Target("mine"))
