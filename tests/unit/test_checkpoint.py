"""Checkpoints: weights are loaded, code never is."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from autoprune.errors import CheckpointError
from autoprune.execution.checkpoint import load_checkpoint


def make() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def state() -> dict[str, Tensor]:
    return make().state_dict()


def assert_loaded(path: Path, state: dict[str, Tensor]) -> None:
    model = make()
    load_checkpoint(path, model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def wrappings(state: dict[str, Tensor]) -> list[Any]:
    return [
        state,
        {"state_dict": state, "epoch": 3},
        {"model": {"state_dict": state}, "optimizer": {"lr": 0.1}},
        {"state_dict": {f"module.{name}": value for name, value in state.items()}},
        {f"_orig_mod.{name}": value for name, value in state.items()},
        {name: value for name, value in state.items() if "num_batches" not in name},
    ]


@pytest.mark.parametrize("index", range(6))
def test_common_forms_are_understood(state: dict[str, Tensor], tmp_path: Path, index: int) -> None:
    torch.save(wrappings(state)[index], tmp_path / "weights.pt")
    assert_loaded(tmp_path / "weights.pt", state)


def test_safetensors_are_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "weights.safetensors")
    assert_loaded(tmp_path / "weights.safetensors", state)


@pytest.mark.timeout(60)
def test_a_wrapping_of_itself_is_no_checkpoint(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    content["state_dict"] = content
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(
        CheckpointError, match=r"must hold a state_dict.*the keys \['state_dict'\]"
    ):
        load_checkpoint(tmp_path / "weights.pt", make())


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("plain", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, plain: bool) -> None:
    path, mark = tmp_path / "weights.pt", tmp_path / "was_run"
    if plain:
        path.write_bytes(pickle.dumps({"state_dict": Evil(mark)}))
    else:
        torch.save({"state_dict": Evil(mark)}, path)
    with pytest.raises(
        CheckpointError, match=r"(?s)weights\.pt .*only weights.*convert"
    ) as caught:
        load_checkpoint(path, make())
    assert not mark.exists()
    assert "\n" not in str(caught.value)


def test_a_whole_model_is_refused(tmp_path: Path) -> None:
    torch.save(make(), tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="only weights are loaded"):
        load_checkpoint(tmp_path / "weights.pt", make())


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken", b"\x80\x02."])
def test_a_damaged_file_is_told(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is not a (checkpoint|safetensors)") as caught:
        load_checkpoint(tmp_path / name, make())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}, torch.zeros(2)])
def test_a_file_without_weights_is_told(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="must hold a state_dict"):
        load_checkpoint(tmp_path / "weights.pt", make())


def test_a_missing_file_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no checkpoint .* key 'checkpoint'"):
        load_checkpoint(tmp_path / "no.pt", make())


def test_a_checkpoint_of_another_model_lists_the_first_differences(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    state["0.weight"] = torch.zeros(5, 3, 3, 3)
    extra = {f"extra.{i}": torch.zeros(1) for i in range(5)}
    del state["1.bias"]
    torch.save(state | extra, tmp_path / "weights.pt")
    before = make()
    kept = {name: value.clone() for name, value in before.state_dict().items()}
    with pytest.raises(CheckpointError, match="does not fit the model") as caught:
        load_checkpoint(tmp_path / "weights.pt", before)
    for part in (
        "lacks 1.bias",
        "the unknown extra.0, extra.1, extra.2 and 2 more",
        "0.weight is [5, 3, 3, 3], not [4, 3, 3, 3]",
    ):
        assert part in str(caught.value)
    assert all(torch.equal(value, kept[name]) for name, value in before.state_dict().items())
