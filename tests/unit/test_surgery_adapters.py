"""Adapters give what their modules gave, before and after attention is cut."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.surgery.adapt import adapt_modules, adapted, adapter_of
from autoprune.surgery.apply import apply
from autoprune.surgery.compare import difference, outputs
from autoprune.surgery.discover import discover
from autoprune.surgery.tensors import state_tensors
from autoprune.surgery.verify import random_atoms, sliced_equals_masked

Options = dict[str, Any]


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def adopted(module: nn.Module) -> nn.Module:
    twin = copy.deepcopy(module)
    adapt_modules(twin)
    assert type(twin) is not type(module)
    return twin.eval()


def same(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return left is right
    return left.shape == right.shape and torch.allclose(left, right, atol=1e-6)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"need_weights": False},
        {"average_attn_weights": False},
        {"attn_mask": torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)},
        {"attn_mask": tokens(2 * 4, 5, 5), "need_weights": False},
        {"key_padding_mask": torch.tensor([[False] * 4 + [True], [False] * 5])},
        {
            "key_padding_mask": torch.tensor([[0.0] * 4 + [-9.0], [0.0] * 5]),
            "attn_mask": tokens(5, 5),
        },
    ],
)
def test_multihead_attention_gives_the_same(options: Options, batch_first: bool) -> None:
    module = nn.MultiheadAttention(16, 4, batch_first=batch_first).eval()
    x = tokens(2, 5, 16) if batch_first else tokens(5, 2, 16)
    twin = adopted(module)
    for ours, theirs in zip(twin(x, x, x, **options), module(x, x, x, **options), strict=True):
        assert same(ours, theirs)


@pytest.mark.parametrize("sizes", [{}, {"kdim": 6, "vdim": 10}])
@pytest.mark.parametrize("bias", [True, False])
def test_cross_attention_gives_the_same(sizes: dict[str, int], bias: bool) -> None:
    module = nn.MultiheadAttention(16, 4, batch_first=True, bias=bias, **sizes).eval()
    given = (
        tokens(2, 5, 16),
        tokens(2, 7, sizes.get("kdim", 16), seed=1),
        tokens(2, 7, sizes.get("vdim", 16), seed=2),
    )
    for ours, theirs in zip(adopted(module)(*given), module(*given), strict=True):
        assert same(ours, theirs)


def test_attention_without_a_batch_gives_the_same() -> None:
    module = nn.MultiheadAttention(16, 4).eval()
    x = tokens(5, 16)
    padding = torch.tensor([False, False, True, False, False])
    ours = adopted(module)(x, x, x, key_padding_mask=padding)
    for one, other in zip(ours, module(x, x, x, key_padding_mask=padding), strict=True):
        assert same(one, other)


def test_attention_with_extra_rows_has_no_adapter() -> None:
    assert adapter_of(nn.MultiheadAttention(16, 4, add_zero_attn=True)) is None
    assert adapter_of(nn.MultiheadAttention(16, 4, add_bias_kv=True)) is None


class Sequence(nn.Module):
    """Images to tokens, one block of attention, a head."""

    def __init__(self, block: nn.Module, channels: int = 16, last: bool = False) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, channels, 4, 4)
        self.block = block
        self.head = nn.Linear(channels, 3)
        self.last = last

    def forward(self, x: Tensor) -> Any:
        x = self.patches(x)
        x = x.permute(0, 2, 3, 1) if self.last else x.flatten(2).transpose(1, 2)
        return self.head(self.block(x).flatten(1, -2).sum(1))


def timm_attention() -> nn.Module:
    layers = pytest.importorskip("timm.layers", reason="timm is not installed")
    attention: nn.Module = layers.Attention(16, num_heads=2, qkv_bias=True)
    return Sequence(attention)


def swin(version: str) -> nn.Module:
    models = pytest.importorskip("torchvision.models.swin_transformer", reason="no torchvision")
    attention = getattr(models, version)(16, [4, 4], [2, 2], num_heads=2)
    return Sequence(attention, last=True)


def encoder() -> nn.Module:
    return Sequence(nn.TransformerEncoderLayer(16, 2, 24, batch_first=True))


@pytest.mark.parametrize(
    "build",
    [
        encoder,
        timm_attention,
        lambda: swin("ShiftedWindowAttention"),
        lambda: swin("ShiftedWindowAttentionV2"),
    ],
    ids=["encoder", "timm", "swin", "swin_v2"],
)
def test_attention_is_cut_right(build: Any) -> None:
    torch.manual_seed(0)
    model: nn.Module = build().eval()
    images = [tokens(2, 3, 24, 24)]
    assert difference(outputs(adapted(model), images), outputs(model, images)) < 1e-5
    plan = discover(model, images, np.random.default_rng(0))
    assert not plan.rejected
    widths = [u for u in plan.units.values() if u.atoms == 8]
    assert widths, "the width of the heads is a unit"
    for share in (0.3, 0.8):
        gone = {
            name: random_atoms(unit.atoms, share, np.random.default_rng(1))
            for name, unit in plan.units.items()
        }
        assert sliced_equals_masked(model, plan, gone, images) < 1e-5
        pruned = apply(model, plan, gone)
        assert pruned.state_dict().keys() == model.state_dict().keys()
        pruned.train()(images[0]).sum().backward()


@pytest.mark.parametrize(
    "name", ["StdConv2d", "StdConv2dSame", "ScaledStdConv2d", "ScaledStdConv2dSame"]
)
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"groups": 2}, {"groups": 12}])
def test_standardised_weights_are_cut_right(name: str, options: Options) -> None:
    layers = pytest.importorskip("timm.layers", reason="timm is not installed")
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3), getattr(layers, name)(12, 24, 3, **options), nn.Conv2d(24, 2, 1)
    ).eval()
    images = [tokens(2, 3, 9, 9)]
    assert (
        difference(
            outputs(adopted(model[1]), [tokens(1, 12, 8, 8)]),
            outputs(model[1], [tokens(1, 12, 8, 8)]),
        )
        < 1e-5
    )
    plan = discover(model, images, np.random.default_rng(0))
    assert not plan.rejected
    assert plan.units.keys() >= {"0"}
    gone = {name: np.array([0, unit.atoms - 1]) for name, unit in plan.units.items()}
    assert sliced_equals_masked(model, plan, gone, images) < 1e-8
    assert apply(model, plan, gone)(images[0]).shape == model(images[0]).shape


def test_an_adapted_model_shares_every_tensor() -> None:
    model = encoder()
    twin = adapted(model)
    assert twin is not model
    ours, theirs = state_tensors(twin), state_tensors(model)
    assert ours.keys() == theirs.keys()
    assert all(ours[name] is theirs[name] for name in theirs)


def test_a_model_without_such_modules_is_left_as_it_is() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    assert adapted(model) is model


@pytest.mark.parametrize("build", [encoder, timm_attention])
def test_a_pruned_attention_can_be_pruned_again(build: Any) -> None:
    torch.manual_seed(0)
    model: nn.Module = build().eval()
    images = [tokens(2, 3, 24, 24)]
    for seed in range(2):
        plan = discover(model, images, np.random.default_rng(seed))
        assert not plan.rejected
        units = plan.of("channel", "head")
        gone = {n: random_atoms(u.atoms, 0.3, np.random.default_rng(1)) for n, u in units.items()}
        assert sliced_equals_masked(model, plan, gone, images) < 1e-5
        model = apply(model, plan, gone)
