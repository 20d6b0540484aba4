"""Constructors: recorded beside a result, and used again from there."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from autoprune.artifacts.constructor import Constructor
from autoprune.errors import ArtifactError, ConfigError, ModelError

CODE = "from torch import nn\ndef net(width=2):\n    return nn.Linear(width, 3)\n"


@pytest.fixture
def recorded(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "model.py").write_text(CODE)
    constructor = Constructor(target="model.py:net", args={"width": 5}, base=tmp_path)
    return constructor.to_dict(tmp_path / "runs")


def test_a_file_is_found_again_from_the_result_folder(
    recorded: dict[str, Any], tmp_path: Path
) -> None:
    again = Constructor.from_dict(recorded, tmp_path / "runs")
    model = again.build()
    assert isinstance(model, nn.Linear)
    assert model.in_features == 5
    assert again.to_dict(tmp_path / "runs") == recorded


def test_a_module_needs_no_folder(tmp_path: Path) -> None:
    record = Constructor(target="torch.nn:Linear", args={"in_features": 2, "out_features": 3})
    assert record.to_dict(tmp_path) == {
        "target": "torch.nn:Linear",
        "args": {"in_features": 2, "out_features": 3},
    }
    assert isinstance(Constructor.from_dict(record.to_dict(tmp_path), tmp_path).build(), nn.Linear)


def test_a_changed_file_is_told_but_not_refused(recorded: dict[str, Any], tmp_path: Path) -> None:
    again = Constructor.from_dict(recorded, tmp_path / "runs")
    assert not again.changed
    (tmp_path / "model.py").write_text(CODE + "# a comment\n")
    assert again.changed
    assert isinstance(again.build(), nn.Linear)


def test_a_missing_file_says_how_to_load_without_it(
    recorded: dict[str, Any], tmp_path: Path
) -> None:
    again = Constructor.from_dict(recorded, tmp_path / "runs")
    (tmp_path / "model.py").unlink()
    with pytest.raises(ArtifactError, match=r"no file .*autoprune\.load\(FOLDER, model=MODEL\)"):
        again.build()


@pytest.mark.parametrize("raw", [{}, {"target": 3, "args": {}}, {"target": "a", "args": {}}])
def test_a_record_that_is_none_is_refused(raw: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="records the model's constructor as"):
        Constructor.from_dict(raw, tmp_path)


def test_arguments_must_be_recordable() -> None:
    with pytest.raises(ConfigError, match="must be numbers, texts, lists or mappings"):
        Constructor(target="torch.nn:Linear", args={"device": object()})


def test_something_that_cannot_be_called_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("net = 3\n")
    with pytest.raises(ModelError, match="'int' object is not callable"):
        Constructor(target="model.py:net", base=tmp_path).build()
