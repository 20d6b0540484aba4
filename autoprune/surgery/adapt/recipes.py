"""Recipes: what in the classes of other packages is a size of channels (see `rewrite`)."""

from collections.abc import Callable
from typing import Any

from autoprune.surgery.adapt.recipe import Heads, Recipe, at


def _size(path: str, dim: int = 0) -> Callable[[Any], int]:
    """Return a function of a module: the size of the tensor at ``path`` along ``dim``."""
    return lambda module: int(at(module, path).shape[dim])


def _scale_shape(module: Any) -> tuple[int, ...]:
    return (module.scale.shape[0], *module.shape[1:])


_QKV, _ROWS = Heads("qkv.weight"), Heads("qkv.weight", parts=1)
_Q = Heads("q.weight", parts=1)
_FUSED = Recipe(heads=_QKV)
_WIDTH = Recipe(follows={"width": _size("convs.0.weight")})
_EXPANDED = Recipe(follows={"expand_chs": _size("conv_exp.conv.weight")})
_SPLIT = Recipe()

_TIMM = {
    "layers.attention2d.Attention2d": Recipe(
        heads=_QKV, follows={"dim_head": lambda m: m.qkv.weight.shape[0] // 3 // m.num_heads}
    ),
    "layers.attention2d.MultiQueryAttention2d": Recipe(
        heads=Heads("query.proj.weight", parts=1),
        follows={"key_dim": _size("key.proj.weight"), "value_dim": _size("value.proj.weight")},
    ),
    "layers.mixed_conv2d.MixedConv2d": _SPLIT,
    "layers.selective_kernel.SelectiveKernel": Recipe(
        follows={"in_channels": lambda m: m.paths[0].conv.in_channels * m.num_paths}
    ),
    "models.beit.Attention": _FUSED,
    "models.cait.ClassAttn": Recipe(heads=_Q),
    "models.cait.TalkingHeadAttn": _FUSED,
    "models.coat.FactorAttnConvRelPosEnc": _FUSED,
    "models.coat.ConvRelPosEnc": _SPLIT,
    "models.convit.GPSA": Recipe(
        heads=Heads("v.weight", parts=1), methods=("forward", "get_attention")
    ),
    "models.convit.MHSA": _FUSED,
    "models.crossvit.Attention": _FUSED,
    "models.crossvit.CrossAttention": Recipe(heads=Heads("wq.weight", parts=1)),
    "models.cspnet.CrossStage": _EXPANDED,
    "models.cspnet.CrossStage3": _EXPANDED,
    "models.davit.ChannelAttention": _FUSED,
    "models.davit.ChannelAttentionV2": Recipe(
        ("C", "C // self.groups"), Heads(attribute="groups")
    ),
    "models.davit.WindowAttention": _FUSED,
    "models.dla.DlaBottle2neck": _WIDTH,
    "models.edgenext.CrossCovarianceAttn": _FUSED,
    "models.efficientformer_v2.Attention2d": Recipe(("self.dh",)),
    "models.efficientformer_v2.Attention2dDownsample": Recipe(("self.dh",)),
    "models.efficientvit_msra.CascadedGroupAttention": Recipe(("self.val_dim",)),
    "models.eva.EvaAttention": _FUSED,
    "models.gcvit.WindowAttentionGlobal": _FUSED,
    "models.hiera.MaskUnitAttention": Recipe(
        ("self.head_dim", "self.dim_out"), Heads(attribute="heads")
    ),
    "models.inception_next.InceptionDWConv2d": _SPLIT,
    "models.levit.Attention": Recipe(("self.val_attn_dim",)),
    "models.levit.AttentionDownsample": Recipe(("self.val_attn_dim",)),
    "models.mambaout.GatedConvBlock": _SPLIT,
    "models.maxxvit.Attention2d": Recipe(
        heads=_QKV, follows={"dim_head": lambda m: m.qkv.weight.shape[0] // 3 // m.num_heads}
    ),
    "models.maxxvit.AttentionCl": Recipe(
        heads=_QKV, follows={"dim_head": lambda m: m.qkv.weight.shape[0] // 3 // m.num_heads}
    ),
    "models.metaformer.Scale": Recipe(follows={"shape": _scale_shape}),
    "models.nest.Attention": _FUSED,
    "models.nextvit.EfficientAttention": Recipe(heads=_Q),
    "models.pvt_v2.Attention": Recipe(
        heads=_Q, follows={"head_dim": lambda m: m.q.weight.shape[0] // m.num_heads}
    ),
    "models.res2net.Bottle2neck": _WIDTH,
    "models.swin_transformer_v2.WindowAttention": _FUSED,
    "models.tiny_vit.Attention": Recipe(("self.out_dim",), _ROWS),
    "models.tnt.Attention": Recipe(heads=Heads("v.weight", parts=1)),
    "models.twins.GlobalSubSampleAttn": Recipe(heads=_Q),
    "models.twins.LocallyGroupedAttn": _FUSED,
    "models.vision_transformer_relpos.RelPosAttention": _FUSED,
    "models.visformer.Attention": Recipe(
        heads=_QKV, follows={"head_dim": lambda m: m.qkv.weight.shape[0] // 3 // m.num_heads}
    ),
    "models.volo.Attention": _FUSED,
    "models.volo.ClassAttention": Recipe(
        ("self.head_dim", "self.head_dim * self.num_heads"), heads=_Q
    ),
    "models.volo.OutlookAttention": Recipe(
        ("C // self.num_heads", "C * self.kernel_size * self.kernel_size"),
        Heads("v.weight", parts=1),
    ),
    "models.xcit.XCA": _FUSED,
}
_TORCHVISION = {
    "models.maxvit.RelativePositionalMultiHeadAttention": Recipe(
        ("D", "DH"), Heads("to_qkv.weight", attribute="n_heads")
    ),
}
RECIPES = {f"timm.{name}": recipe for name, recipe in _TIMM.items()} | {
    f"torchvision.{name}": recipe for name, recipe in _TORCHVISION.items()
}
