"""Rows of a regression: their products with the weight are what the layer gives."""

from typing import Any

import pytest
import torch
from torch import nn

from autoprune.evaluation.layer_rows import inputs_at, is_linear, outputs_at, places

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
    at = torch.randperm(places(layer, output))[:20]

    rows = inputs_at(layer, value, at)

    assert rows is not None
    weight = layer.weight.reshape(rows.shape[0], -1, rows.shape[-1])
    found = (rows @ weight.mT).transpose(0, 1).reshape(len(at), -1)
    if layer.bias is not None:
        found = found + layer.bias
    assert torch.allclose(found, outputs_at(layer, output, at), atol=1e-5)


def test_a_layer_that_reads_fewer_places_has_no_rows() -> None:
    layer = nn.Linear(5, 3)

    assert inputs_at(layer, torch.randn(2, 5), torch.tensor([0, 7])) is None


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
