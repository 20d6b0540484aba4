"""Every recipe: the class it rewrites gives what it gave, before and after it is cut."""

import io
from collections.abc import Callable
from functools import partial
from importlib import import_module
from inspect import isfunction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.surgery.adapt import adapted, adapter_of, rewrite
from autoprune.surgery.adapt.recipes import RECIPES
from autoprune.surgery.apply import apply
from autoprune.surgery.compare import difference, outputs
from autoprune.surgery.discover import discover
from autoprune.surgery.verify import random_atoms, sliced_equals_masked

Run = Callable[[Any, Tensor], Any]


def tokens(block: Any, x: Tensor, *more: Any) -> Any:
    return block(x.flatten(2).transpose(1, 2), *more)


def image(block: Any, x: Tensor) -> Any:
    return block(x)


def maps(block: Any, x: Tensor) -> Any:
    return block(x).flatten(2).transpose(1, 2)


def last(block: Any, x: Tensor) -> Any:
    return block(x.permute(0, 2, 3, 1))


def windows(block: Any, x: Tensor) -> Any:
    return block(x.flatten(2).transpose(1, 2).unsqueeze(1))


def first_of(block: Any, x: Tensor) -> Any:
    return tokens(block, x, [6, 6])[0]


def embedded(block: Any, x: Tensor) -> Any:
    return block(x, torch.zeros(1, 1, 3, 3))


def with_class_token(block: Any, x: Tensor) -> Any:
    x = x.flatten(2).transpose(1, 2)
    return block(torch.cat([x.mean(1, keepdim=True), x], 1), (6, 6))


def image_of_values(block: Any, x: Tensor) -> Any:
    """Call a convolutional position encoding with the channels as two heads."""
    heads = x.flatten(2).unflatten(1, (2, -1)).transpose(2, 3)
    heads = torch.cat([heads.mean(2, keepdim=True), heads], 2)
    return block(heads, heads, (6, 6)).transpose(1, 2).flatten(2)


def position_encoding() -> nn.Module:
    encoding: nn.Module = import_module("timm.models.coat").ConvRelPosEnc(8, 2, {3: 1, 5: 1})
    return encoding


def relative(name: str) -> Callable[[], Any]:
    def make() -> Any:
        kind = getattr(import_module("timm.layers.pos_embed_rel"), name)
        return partial(kind, window_size=(6, 6))

    return make


sized: Run = partial(lambda size, block, x: tokens(block, x, size), (6, 6))
HEADS: dict[str, Any] = {"num_heads": 2}
NORMED: dict[str, Any] = {"qk_norm": True, "scale_norm": True}
LEVIT: dict[str, Any] = {"key_dim": 4, "num_heads": 2, "attn_ratio": 2}
CSP: dict[str, Any] = {
    "block_fn": lambda: import_module("timm.models.cspnet").BottleneckBlock,
    "act_layer": nn.ReLU,
    "norm_layer": nn.BatchNorm2d,
    "aa_layer": None,
    "expand_ratio": 2.0,
}

# Units that are rightly rejected: ConViT computes this buffer anew, with all its three channels;
# the atoms of the other are offsets in buffers that look biases up.
REJECTED = {
    # heads of these sit in a batch axis that their code sizes itself; the width is cut
    "/layers.bottleneck_attn.BottleneckAttn": {"block.qkv:heads"},
    "/layers.halo_attn.HaloAttn": {"block.q:heads"},
    "convit.GPSA": {"block"},
    "maxxvit.Attention2d": {"block.rel_pos"},
}

# Class below timm.models, arguments, how it is called.
CASES: list[tuple[str, tuple[Any, ...], dict[str, Any], Run]] = [
    ("beit.Attention", (16, 2), {"qkv_bias": True}, tokens),
    ("beit.Attention", (16, 2), {"qkv_bias": True, "qkv_bias_separate": True}, tokens),
    ("cait.ClassAttn", (16, 2), {}, tokens),
    ("cait.TalkingHeadAttn", (16, 2), {"qkv_bias": True}, tokens),
    (
        "coat.FactorAttnConvRelPosEnc",
        (16, 2),
        {"shared_crpe": position_encoding},
        with_class_token,
    ),
    ("coat.ConvRelPosEnc", (8, 2), {"window": {3: 1, 5: 1}}, image_of_values),
    ("convit.GPSA", (16, 2), {}, tokens),
    ("convit.MHSA", (16, 2), {}, tokens),
    ("crossvit.CrossAttention", (16, 2), {}, tokens),
    ("cspnet.CrossStage", (16, 16, 2, 1, 1), CSP, maps),
    ("cspnet.CrossStage3", (16, 16, 2, 1, 1), CSP, maps),
    ("davit.ChannelAttention", (16, 2), {}, tokens),
    ("davit.ChannelAttentionV2", (16, 2), {}, tokens),
    ("davit.WindowAttention", (16, (6, 6), 2), {}, tokens),
    ("dla.DlaBottle2neck", (16, 16), {"cardinality": 1, "base_width": 32}, maps),
    ("edgenext.CrossCovarianceAttn", (16, 2), {}, tokens),
    ("efficientformer.Attention", (16,), {**LEVIT, "resolution": 6}, tokens),
    ("efficientformer_v2.Attention2d", (16,), {**LEVIT, "resolution": 6}, maps),
    ("efficientformer_v2.Attention2d", (16,), {**LEVIT, "resolution": 6, "stride": 2}, maps),
    (
        "efficientformer_v2.Attention2dDownsample",
        (16,),
        {**LEVIT, "resolution": 6, "out_dim": 16},
        maps,
    ),
    (
        "efficientvit_msra.CascadedGroupAttention",
        (16, 4),
        {"num_heads": 2, "attn_ratio": 2, "resolution": 6, "kernels": (3, 3)},
        maps,
    ),
    ("eva.EvaAttention", (16, 2), {"scale_norm": False}, tokens),
    ("eva.EvaAttention", (16, 2), {"scale_norm": False, "qkv_fused": False}, tokens),
    ("fastvit.Attention", (16,), {"head_dim": 8}, maps),
    ("gcvit.WindowAttentionGlobal", (16, 2, (6, 6)), {"use_global": False}, tokens),
    ("hiera.MaskUnitAttention", (16, 16, 2), {}, tokens),
    (
        "hiera.MaskUnitAttention",
        (16, 16, 2),
        {"q_stride": 4, "window_size": 9, "use_mask_unit_attn": True},
        tokens,
    ),
    ("hieradet_sam2.MultiScaleAttention", (16, 16, 2), {}, last),
    ("inception_next.InceptionDWConv2d", (16,), {"branch_ratio": 0.25}, maps),
    ("levit.Attention", (16,), {**LEVIT, "resolution": (6, 6)}, tokens),
    ("levit.Attention", (16,), {**LEVIT, "resolution": (6, 6), "use_conv": True}, maps),
    ("levit.AttentionDownsample", (16, 16), {**LEVIT, "resolution": (6, 6)}, tokens),
    (
        "levit.AttentionDownsample",
        (16, 16),
        {**LEVIT, "resolution": (6, 6), "use_conv": True},
        maps,
    ),
    ("mambaout.GatedConvBlock", (16,), {"expansion_ratio": 2, "conv_ratio": 0.5}, last),
    ("maxxvit.Attention2d", (16,), {"dim_head": 8}, maps),
    ("maxxvit.Attention2d", (16,), {"dim_head": 8, "head_first": False}, maps),
    ("maxxvit.Attention2d", (16,), {"dim_head": 8, "rel_pos_cls": relative("RelPosBias")}, maps),
    ("maxxvit.Attention2d", (16,), {"dim_head": 8, "rel_pos_cls": relative("RelPosMlp")}, maps),
    ("maxxvit.Attention2d", (16,), {"dim_head": 8, "rel_pos_cls": relative("RelPosBiasTf")}, maps),
    ("maxxvit.AttentionCl", (16,), {"dim_head": 8}, last),
    ("maxxvit.AttentionCl", (16,), {"dim_head": 8, "head_first": False}, last),
    ("metaformer.Attention", (16,), {"head_dim": 8}, tokens),
    ("metaformer.Scale", (16,), {}, maps),
    ("metaformer.Scale", (16,), {"use_nchw": False}, last),
    ("mvitv2.MultiScaleAttention", (16, 16, (6, 6), 2), {"has_cls_token": False}, first_of),
    ("nest.Attention", (16, 2), {}, windows),
    ("nextvit.EfficientAttention", (16,), {"head_dim": 8, "sr_ratio": 2}, tokens),
    ("pvt_v2.Attention", (16, 2), {"sr_ratio": 2}, sized),
    ("pvt_v2.Attention", (16, 2), {"linear_attn": True}, sized),
    ("res2net.Bottle2neck", (16, 4), {"base_width": 64, "norm_layer": nn.BatchNorm2d}, maps),
    ("shvit.SHSA", (16, 4, 8, partial(nn.GroupNorm, 1), nn.ReLU), {}, maps),
    ("swin_transformer.WindowAttention", (16, 2), {"window_size": (6, 6)}, tokens),
    ("swin_transformer_v2.WindowAttention", (16, (6, 6), 2), {}, tokens),
    ("swin_transformer_v2_cr.WindowMultiHeadAttention", (16, 2, (6, 6)), {}, tokens),
    ("tiny_vit.Attention", (16, 8, 2), {"attn_ratio": 1, "resolution": (6, 6)}, tokens),
    ("tnt.Attention", (16, 16, 2), {}, tokens),
    ("tnt.PixelEmbed", (6, 3, 16, 16, 1), {"legacy": True}, embedded),
    ("twins.GlobalSubSampleAttn", (16, 2), {"sr_ratio": 2}, sized),
    ("twins.LocallyGroupedAttn", (16, 2), {"ws": 4}, sized),
    ("vision_transformer.ParallelScalingBlock", (16, 2), {"mlp_ratio": 2.0}, tokens),
    ("vision_transformer_relpos.RelPosAttention", (16, 2), {"qk_norm": True}, tokens),
    ("visformer.Attention", (16, 2), {}, maps),
    ("volo.Attention", (16, 2), {}, last),
    ("volo.ClassAttention", (16, 2), {}, tokens),
    ("volo.OutlookAttention", (16, 2), {"stride": 2}, last),
    ("xcit.XCA", (16, 2), {}, tokens),
    ("/layers.attention.Attention", (16, 2), {"qkv_bias": True}, tokens),
    ("/layers.attention.Attention", (16, 2), {"attn_head_dim": 4, "gated": True}, tokens),
    ("/layers.attention.Attention", (16, 2), {"norm_layer": nn.LayerNorm, **NORMED}, tokens),
    ("/layers.attention.AttentionRope", (16, 2), {"qkv_fused": False}, tokens),
    ("/layers.attention.AttentionRope", (16, 2), {"qkv_bias": True}, tokens),
    ("/layers.attention_pool.AttentionPoolLatent", (16,), {"num_heads": 2}, tokens),
    ("/layers.attention_pool2d.AttentionPool2d", (16, 6), {"num_heads": 2}, image),
    ("/layers.attention2d.Attention2d", (16,), {"num_heads": 2}, maps),
    ("/layers.attention2d.Attention2d", (16,), {"num_heads": 2, "head_first": True}, maps),
    ("/layers.attention2d.MultiQueryAttention2d", (16,), {"num_heads": 2, "key_dim": 8}, maps),
    ("/layers.blur_pool.BlurPool2d", (16,), {}, maps),
    ("/layers.blur_pool.BlurPool2d", (), {}, maps),
    ("/layers.bottleneck_attn.BottleneckAttn", (16, 16, (6, 6)), {"num_heads": 2}, maps),
    ("/layers.halo_attn.HaloAttn", (16, 16), {**HEADS, "block_size": 3, "halo_size": 1}, maps),
    ("/layers.lambda_layer.LambdaLayer", (16, 16), {**HEADS, "r": 3}, maps),
    ("/layers.mixed_conv2d.MixedConv2d", (16, 16, [3, 5]), {"depthwise": True}, maps),
    ("/layers.mixed_conv2d.MixedConv2d", (24, 16, [1, 3, 5]), {}, maps),
    ("/layers.selective_kernel.SelectiveKernel", (16, 16), {}, maps),
    ("/layers.selective_kernel.SelectiveKernel", (16, 16), {"split_input": False}, maps),
    ("torchvision:maxvit.RelativePositionalMultiHeadAttention", (16, 8, 36), {}, windows),
]


def path_of(name: str) -> str:
    package, _, rest = name.rpartition(":")
    folder = "" if rest.startswith("/") else "models."
    return f"{package or 'timm'}.{folder}{rest.removeprefix('/')}"


class Net(nn.Module):
    """Images to channels, the block under test, a head."""

    def __init__(self, block: nn.Module, run: Run, channels: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, channels, 4, 4)
        self.block = block
        self.head = nn.Linear(16, 3)
        self.run = run

    def forward(self, x: Tensor) -> Any:
        out = self.run(self.block, self.patches(x))
        return self.head(out.flatten(1, -2).sum(1) if out.ndim > 2 else out)


def build(path: str, args: tuple[Any, ...], options: dict[str, Any], run: Run) -> Net:
    module, _, name = path.rpartition(".")
    pytest.importorskip(path.partition(".")[0], reason="the package is not installed")
    torch.manual_seed(0)
    made = {key: value() if isfunction(value) else value for key, value in options.items()}
    block: nn.Module = getattr(import_module(module), name)(*args, **made)
    channels = 24 if args[:1] == (24,) else 16
    return Net(block, run, channels).eval()


@pytest.mark.parametrize(
    ("name", "args", "options", "run"),
    CASES,
    ids=[f"{n}-{at}" for at, (n, *_) in enumerate(CASES)],
)
def test_a_rewritten_class_is_cut_right(
    name: str, args: tuple[Any, ...], options: dict[str, Any], run: Run
) -> None:
    model = build(path_of(name), args, options, run)
    images = [torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))]
    assert adapter_of(model.block) is rewrite.rewritten(path_of(name))
    assert difference(outputs(adapted(model), images), outputs(model, images)) < 1e-5
    plan = discover(model, images, np.random.default_rng(0))
    assert plan.rejected.keys() <= REJECTED.get(name, set())
    for share in (0.3, 0.8):
        gone = {
            name: random_atoms(unit.atoms, share, np.random.default_rng(1))
            for name, unit in plan.of("channel", "head").items()
        }
        assert sliced_equals_masked(model, plan, gone, images) < 1e-8
        pruned = apply(model, plan, gone)
        assert pruned.state_dict().keys() == model.state_dict().keys()
    pruned.train()(images[0]).sum().backward()


def test_every_recipe_is_tested() -> None:
    nets = (build(path_of(n), args, options, run) for n, args, options, run in CASES)
    modules = (module for net in nets for module in net.modules())
    met = {f"{type(m).__module__}.{type(m).__qualname__}" for m in modules}
    assert met >= set(RECIPES)


@pytest.mark.parametrize("path", RECIPES)
def test_a_recipe_fits_the_installed_class(path: str) -> None:
    pytest.importorskip(path.partition(".")[0], reason="the package is not installed")
    assert rewrite.rewritten(path) is not None


def test_a_pruned_model_is_pruned_again() -> None:
    model: Any = build("timm.models.beit.Attention", (16, 2), {"qkv_bias": True}, tokens)
    images = [torch.randn(2, 3, 24, 24)]
    for left in (16, 14, 12):
        assert model.patches.out_channels == left
        plan = discover(model, images, np.random.default_rng(0))
        assert not plan.rejected
        gone = {name: np.array([0, 2]) for name in plan.of("channel")}
        assert sliced_equals_masked(model, plan, gone, images) < 1e-8
        model = apply(model, plan, gone)


def test_a_pruned_model_is_pickled_whole() -> None:
    model = build("timm.models.xcit.XCA", (16, 2), {}, tokens)
    images = [torch.randn(2, 3, 24, 24)]
    plan = discover(model, images, np.random.default_rng(0))
    pruned = apply(model, plan, {name: np.array([0]) for name in plan.of("channel")})
    file = io.BytesIO()
    torch.save(pruned, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert type(loaded.block) is type(pruned.block)
    assert difference(outputs(loaded, images), outputs(pruned, images)) == 0


def test_a_pruned_model_is_exported() -> None:
    model = build("timm.layers.mixed_conv2d.MixedConv2d", (24, 16, [1, 3, 5]), {}, maps)
    images = torch.randn(2, 3, 24, 24)
    plan = discover(model, [images], np.random.default_rng(0))
    pruned = apply(model, plan, {name: np.array([0]) for name in plan.units})
    exported = torch.export.export(pruned, (images,)).module()
    assert difference([exported(images).detach()], outputs(pruned, [images])) < 1e-6


def test_a_class_without_source_has_no_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: Any) -> str:
        raise OSError("could not get source code")

    path = "timm.models.xcit.XCA"
    pytest.importorskip("timm", reason="timm is not installed")
    monkeypatch.setattr("inspect.getsource", gone)
    assert rewrite.rewritten.__wrapped__(path) is None


def test_a_name_that_no_recipe_has_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no class or function 'timm__models__nothing'"):
        _ = rewrite.timm__models__nothing
