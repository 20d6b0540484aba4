"""Recipes: what in the classes of other packages is a size of channels (see `rewrite`)."""

from collections.abc import Callable
from typing import Any

from autoprune.surgery.adapt.recipe import Heads, Recipe, at


def _size(path: str, dim: int = 0) -> Callable[[Any], int]:
    """Return a function of a module: the size of the tensor at ``path`` along ``dim``."""
    return lambda module: int(at(module, path).shape[dim])


def _width(path: str, parts: int = 1, dim: int = 0, heads: str = "num_heads") -> Any:
    """Return a function of a module: the width of a head, read from a weight's dimension."""
    size = _size(path, dim)
    return lambda module: size(module) // parts // getattr(module, heads)


_PLAIN = Recipe()
_DIM_HEAD = Recipe(follows={"dim_head": _width("qkv.weight", 3)})
_HEAD_AND_ALL = {
    "head_dim": _width("proj.weight", dim=1),
    "attn_dim": _size("proj.weight", 1),
}
_BRANCH = Recipe(follows={"width": _size("convs.0.weight")})
_EXPANDED = Recipe(follows={"expand_chs": _size("conv_exp.conv.weight")})
_LEVIT = "proj.ln.linear.weight"

_TIMM = {
    "layers.attention.Attention": Recipe(
        ("self.head_dim", "self.attn_dim"), follows=_HEAD_AND_ALL
    ),
    "layers.attention.AttentionRope": Recipe(
        ("self.head_dim", "self.attn_dim"),
        follows={**_HEAD_AND_ALL, "num_kv_heads": lambda m: m.num_heads // m.num_kv_groups},
    ),
    "layers.attention_pool.AttentionPoolLatent": _PLAIN,
    "layers.attention_pool2d.AttentionPool2d": Recipe(
        (), follows={"head_dim": _width("proj.weight", dim=1)}
    ),
    "layers.attention2d.Attention2d": Recipe(
        follows=_DIM_HEAD.follows, scale=lambda m: m.dim_head**-0.5
    ),
    "layers.attention2d.MultiQueryAttention2d": Recipe(
        heads=Heads("output.proj.weight"),
        follows={"key_dim": _size("key.proj.weight"), "value_dim": _size("value.proj.weight")},
    ),
    "layers.blur_pool.BlurPool2d": Recipe(
        follows={"channels": lambda m: None if m.channels is None else m.filt.shape[0]}
    ),
    "layers.bottleneck_attn.BottleneckAttn": Recipe(
        ("self.dim_out_v",),
        follows={
            "dim_head_qk": _size("pos_embed.height_rel", 1),
            "dim_head_v": lambda m: m.qkv.weight.shape[0] // m.num_heads - 2 * m.dim_head_qk,
        },
    ),
    "layers.halo_attn.HaloAttn": Recipe(
        ("self.dim_out_v",),
        follows={
            "dim_head_qk": _width("q.weight"),
            "dim_head_v": lambda m: m.kv.weight.shape[0] // m.num_heads - m.dim_head_qk,
        },
    ),
    "layers.halo_attn.PosEmbedRel": Recipe(follows={"dim_head": _size("height_rel", 1)}),
    "layers.lambda_layer.LambdaLayer": _PLAIN,
    "layers.mixed_conv2d.MixedConv2d": _PLAIN,
    "layers.pos_embed_rel.RelPosBias": Recipe(
        follows={
            "bias_shape": lambda m: (
                *m.bias_shape[:2],
                m.relative_position_bias_table.shape[1],
            )
        }
    ),
    "layers.pos_embed_rel.RelPosMlp": Recipe(
        follows={
            "num_heads": _size("mlp.fc2.weight"),
            "bias_shape": lambda m: (*m.bias_shape[:2], m.num_heads),
        }
    ),
    "layers.selective_kernel.SelectiveKernel": Recipe(
        follows={"in_channels": lambda m: m.paths[0].conv.in_channels * m.num_paths}
    ),
    "models.beit.Attention": _PLAIN,
    "models.cait.ClassAttn": _PLAIN,
    "models.cait.TalkingHeadAttn": _PLAIN,
    "models.coat.ConvRelPosEnc": _PLAIN,
    "models.coat.FactorAttnConvRelPosEnc": _PLAIN,
    "models.convit.GPSA": Recipe(methods=("forward", "get_attention")),
    "models.convit.MHSA": _PLAIN,
    "models.crossvit.CrossAttention": _PLAIN,
    "models.cspnet.CrossStage": _EXPANDED,
    "models.cspnet.CrossStage3": _EXPANDED,
    "models.davit.ChannelAttention": _PLAIN,
    "models.davit.ChannelAttentionV2": Recipe(
        ("C", "C // self.groups"), Heads(attribute="groups")
    ),
    "models.davit.WindowAttention": _PLAIN,
    "models.dla.DlaBottle2neck": _BRANCH,
    "models.edgenext.CrossCovarianceAttn": _PLAIN,
    "models.efficientformer.Attention": Recipe(("self.val_attn_dim",)),
    "models.efficientformer_v2.Attention2d": Recipe(("self.dh",), Heads("proj.conv.weight")),
    "models.efficientformer_v2.Attention2dDownsample": Recipe(
        ("self.dh",), Heads("proj.conv.weight")
    ),
    "models.efficientvit_msra.CascadedGroupAttention": Recipe(("self.val_dim",)),
    "models.eva.EvaAttention": _PLAIN,
    "models.fastvit.Attention": _PLAIN,
    "models.gcvit.WindowAttentionGlobal": _PLAIN,
    "models.hiera.MaskUnitAttention": Recipe(
        (),
        Heads(attribute="heads"),
        {
            "head_dim": _width("proj.weight", dim=1, heads="heads"),
            "dim_out": _size("proj.weight", 1),
        },
    ),
    "models.hieradet_sam2.MultiScaleAttention": _PLAIN,
    "models.inception_next.InceptionDWConv2d": _PLAIN,
    "models.levit.Attention": Recipe(("self.val_attn_dim",), Heads(_LEVIT)),
    "models.levit.AttentionDownsample": Recipe(
        (),
        Heads(_LEVIT),
        {
            "key_dim": _width("q.ln.linear.weight"),
            "val_dim": _width(_LEVIT, dim=1),
            "val_attn_dim": _size(_LEVIT, 1),
        },
    ),
    "models.mambaout.GatedConvBlock": _PLAIN,
    "models.maxxvit.Attention2d": _DIM_HEAD,
    "models.maxxvit.AttentionCl": _DIM_HEAD,
    "models.metaformer.Attention": _PLAIN,
    "models.metaformer.Scale": Recipe(
        follows={"shape": lambda m: (m.scale.shape[0], *m.shape[1:])}
    ),
    "models.mvitv2.MultiScaleAttention": Recipe(follows={"dim_out": _size("proj.weight", 1)}),
    "models.nest.Attention": Recipe(heads=Heads("qkv.weight", 0, 3)),
    "models.nextvit.EfficientAttention": Recipe(("C",), follows={"head_dim": _width("q.weight")}),
    "models.pvt_v2.Attention": Recipe(("C",), follows={"head_dim": _width("q.weight")}),
    "models.res2net.Bottle2neck": _BRANCH,
    "models.shvit.SHSA": Recipe(("self.pdim",)),
    "models.swin_transformer.WindowAttention": _PLAIN,
    "models.swin_transformer_v2.WindowAttention": _PLAIN,
    "models.swin_transformer_v2_cr.WindowMultiHeadAttention": _PLAIN,
    "models.tiny_vit.Attention": Recipe(("self.out_dim",)),
    "models.tnt.Attention": _PLAIN,
    "models.tnt.PixelEmbed": Recipe((), follows={"in_dim": _size("proj.weight")}),
    "models.twins.GlobalSubSampleAttn": Recipe(
        ("C",), exact={"C // self.num_heads": "self.q.weight.shape[0] // self.num_heads"}
    ),
    "models.twins.LocallyGroupedAttn": _PLAIN,
    "models.vision_transformer.ParallelScalingBlock": Recipe(heads=Heads("attn_out_proj.weight")),
    "models.vision_transformer_relpos.RelPosAttention": _PLAIN,
    "models.visformer.Attention": Recipe(follows={"head_dim": _width("qkv.weight", 3)}),
    "models.volo.Attention": _PLAIN,
    "models.volo.ClassAttention": Recipe(("self.head_dim", "self.head_dim * self.num_heads")),
    "models.volo.OutlookAttention": Recipe(
        ("C // self.num_heads", "C * self.kernel_size * self.kernel_size")
    ),
    "models.xcit.XCA": _PLAIN,
}
_TORCHVISION = {
    "models.maxvit.RelativePositionalMultiHeadAttention": Recipe(
        ("D", "DH"), Heads("merge.weight", attribute="n_heads")
    ),
}
RECIPES = {f"timm.{name}": recipe for name, recipe in _TIMM.items()} | {
    f"torchvision.{name}": recipe for name, recipe in _TORCHVISION.items()
}
