"""Fingerprints: equal for the same model and data, different for any other."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from autoprune.agent.housing.identity import (
    data_fingerprint,
    forward_fingerprint,
    model_fingerprint,
)
from autoprune.evaluation.randomness import isolated
from autoprune.tasks import Classification


def test_copies_share_a_fingerprint(net: nn.Module) -> None:
    before = model_fingerprint(net)
    assert len(bytes.fromhex(before)) == 32
    twin = copy.deepcopy(net).train()
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    assert model_fingerprint(twin) == before
    other = copy.deepcopy(net)
    other.load_state_dict(net.state_dict())
    assert model_fingerprint(other) == before


def nudge(net: nn.Module) -> None:
    weight = net.get_parameter("stem.weight").data
    weight[0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0], torch.tensor(9.0))


def shift(net: nn.Module) -> None:
    net.get_buffer("norm.running_mean").add_(1)


def count(net: nn.Module) -> None:
    net.get_buffer("norm.num_batches_tracked").add_(1)


def rename(net: nn.Module) -> None:
    net.add_module("other", net.get_submodule("head"))
    del net._modules["head"]


def reshape(net: nn.Module) -> None:
    weight = net.get_parameter("head.weight")
    weight.data = weight.data.reshape(8, 3)


def retype(net: nn.Module) -> None:
    norm = net.get_submodule("norm")
    norm.num_batches_tracked = torch.zeros((), dtype=torch.float64)  # as many zero bytes


@pytest.mark.parametrize("change", [nudge, shift, count, rename, reshape, retype])
def test_any_change_changes_it(net: nn.Module, change: Callable[[nn.Module], None]) -> None:
    before = model_fingerprint(net)
    change(net)
    assert model_fingerprint(net) != before


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_every_dtype_and_layout_is_read(net: nn.Module, dtype: torch.dtype) -> None:
    assert model_fingerprint(net.to(dtype)) == model_fingerprint(copy.deepcopy(net))
    last = copy.deepcopy(net).to(memory_format=torch.channels_last)
    assert model_fingerprint(last) == model_fingerprint(net)


class Empty(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("none", torch.zeros(0, 3))


def test_an_empty_tensor_is_no_trouble() -> None:
    assert model_fingerprint(Empty()) != model_fingerprint(nn.Identity())


# --- data

IMAGES, CLASSES = torch.rand(10, 1, 2, 2), torch.arange(10) % 2


def splits(**changes: Any) -> Classification:
    loader = DataLoader(TensorDataset(IMAGES, CLASSES), 4)
    return Classification(dict.fromkeys(("train", "search", "test"), loader) | changes)


def loader(images: Tensor, classes: Tensor, batch: int = 4, **more: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(images, classes), batch, **more)


def test_the_same_data_share_a_fingerprint() -> None:
    assert data_fingerprint(splits()) == data_fingerprint(splits())
    clone = loader(IMAGES.clone(), CLASSES.clone())
    assert data_fingerprint(splits(test=clone)) == data_fingerprint(splits())


@pytest.mark.parametrize("split", ["train", "search", "test"])
def test_other_data_in_any_split_change_it(split: str) -> None:
    others = [
        loader(IMAGES + 1, CLASSES),
        loader(IMAGES, 1 - CLASSES),
        loader(IMAGES, CLASSES, batch=5),
        loader(IMAGES[:8], CLASSES[:8], batch=4),
        loader(IMAGES.double(), CLASSES),
    ]
    found = {data_fingerprint(splits(**{split: other})) for other in others}
    assert len(found | {data_fingerprint(splits())}) == 6


def test_shuffled_data_are_the_same_every_time() -> None:
    shuffled = loader(IMAGES, CLASSES, shuffle=True)
    own = loader(IMAGES, CLASSES, shuffle=True, generator=torch.Generator())
    for train in (shuffled, own):
        found = set()
        for seed in range(3):
            with isolated(seed, train):
                found.add(data_fingerprint(splits(train=train)))
        assert len(found) == 1


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(IMAGES, CLASSES, strict=True)


def test_a_loader_of_unknown_length_is_fine() -> None:
    stream = DataLoader(Stream(), 4)
    assert data_fingerprint(splits(train=stream)) == data_fingerprint(splits(train=stream))


def test_another_forward_over_the_same_tensors_is_another_model() -> None:
    images = [torch.ones(1, 3, 4, 4)]
    one, other = (nn.Sequential(nn.Conv2d(3, 4, 1), act) for act in (nn.ReLU(), nn.Tanh()))
    assert forward_fingerprint(one, images) == forward_fingerprint(copy.deepcopy(one), images)
    assert forward_fingerprint(one, images) != forward_fingerprint(other, images)
