"""Rows of a regression: their products with the weight are what the layer gives."""

from math import prod
from typing import Any

import pytest
import torch
from torch import nn

from autoprune.evaluation.reconstruction.layer_rows import (
    grid,
    inputs_at,
    is_linear,
    outputs_at,
    row_size,
)

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "conv": (nn.Conv2d(4, 6, 3, padding=1), (2, 4, 7, 5)),
    "strided": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 4, 9, 6)),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=2), (2, 4, 9, 9)),
    "same": (nn.Conv2d(4, 6, (4, 3), padding="same", dilation=(1, 2)), (2, 4, 8, 7)),
    "valid": (nn.Conv2d(4, 6, 3, padding="valid"), (2, 4, 8, 7)),
    "reflect": (nn.Conv2d(4, 6, 3, padding=(1, 2), padding_mode="reflect"), (2, 4, 7, 7)),
    "circular": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (2, 4, 7, 7)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 7, 7)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, bias=False), (2, 4, 7, 7)),
    "conv1d": (nn.Conv1d(4, 6, 5, stride=2, padding=2), (3, 4, 11)),
    "conv3d": (nn.Conv3d(2, 4, 2, padding=1), (2, 2, 3, 4, 5)),
    "linear": (nn.Linear(5, 3), (4, 5)),
    "tokens": (nn.Linear(5, 3), (2, 7, 5)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", LAYERS)
def test_a_row_times_the_weight_is_what_the_layer_gives(
    name: str, form: torch.memory_format
) -> None:
    layer: Any = LAYERS[name][0]
    shape = LAYERS[name][1]
    value = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    if form is torch.channels_last and value.ndim == 4:
        value = value.contiguous(memory_format=form)
    output = layer(value)
    places = grid(layer, output)
    at = torch.randperm(prod(places))[:20]

    rows = inputs_at(layer, value, at, places)

    assert rows is not None
    assert rows.shape[0] * rows.shape[2] == row_size(layer)
    weight = layer.weight.reshape(rows.shape[0], -1, rows.shape[-1])
    found = (rows @ weight.mT).transpose(0, 1).reshape(len(at), -1)
    if layer.bias is not None:
        found = found + layer.bias
    assert torch.allclose(found, outputs_at(layer, output, at), atol=1e-5)


def test_a_layer_that_reads_other_places_has_no_rows() -> None:
    linear, conv = nn.Linear(5, 3), nn.Conv2d(2, 3, 1)

    assert inputs_at(linear, torch.randn(9, 5), torch.tensor([0, 7]), (8,)) is None
    assert inputs_at(conv, torch.randn(2, 2, 3, 3), torch.tensor([0, 7]), (2, 3, 4)) is None
    assert inputs_at(conv, torch.randn(2, 4, 4), torch.tensor([0, 7]), (2, 4, 4)) is None


def test_what_has_no_axis_of_samples_has_no_places() -> None:
    assert grid(nn.Linear(5, 3), torch.randn(3)) == ()
    assert grid(nn.Conv2d(2, 3, 1), torch.randn(3, 4, 4)) == ()


class Doubled(nn.Linear):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(value)


def test_only_what_computes_as_pytorch_does_is_linear() -> None:
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))

    assert is_linear(nn.Conv1d(1, 1, 1))
    assert not is_linear(Doubled(3, 3))
    assert not is_linear(normed)
    assert not is_linear(nn.ConvTranspose2d(1, 1, 1))
    assert not is_linear(nn.ReLU())
    watched = nn.Linear(3, 3)
    watched.register_forward_hook(lambda *_: None)
    assert not is_linear(watched)
