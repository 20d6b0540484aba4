"""timm's ``Attention`` whose heads may be narrower than when it was built."""

from timm.layers.attention import Attention
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from autoprune.surgery.adapt.heads import Gone, heads_left


class SlicedAttention(Attention):
    """Same parameters and results; widths follow the weights, the scale stays the dense one."""

    @classmethod
    def fits(cls, module: nn.Module) -> bool:
        """Every instance is covered."""
        return True

    @classmethod
    def adopt(cls, module: nn.Module) -> None:
        """Turn an attention module into this class."""
        module.__class__ = cls

    def resize(self, gone: Gone) -> None:
        """Set heads and widths after rows of the projection were removed."""
        rows = gone.get("qkv.weight", {}).get(0)
        left = self.qkv.weight.shape[0]
        if rows is not None:
            self.num_heads = heads_left(rows, left + len(rows), self.num_heads)
        self.attn_dim = left // 3
        self.head_dim = self.attn_dim // self.num_heads

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """See timm's ``Attention``."""
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        out = scaled_dot_product_attention(
            self.q_norm(q),
            self.k_norm(k),
            v,
            attn_mask=attn_mask,
            dropout_p=self.attn_drop.p if self.training else 0.0,
            is_causal=is_causal,
            scale=self.scale,
        )
        out = self.norm(out.transpose(1, 2).flatten(2))
        if self.gate is not None:
            out = out * self.gate(x).sigmoid()
        result: Tensor = self.proj_drop(self.proj(out))
        return result
