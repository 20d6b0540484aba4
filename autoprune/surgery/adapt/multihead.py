"""``nn.MultiheadAttention`` whose heads may be narrower than ``embed_dim / num_heads``."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear, scaled_dot_product_attention

from autoprune.surgery.adapt.heads import Gone, heads_left


class SlicedMultiheadAttention(nn.MultiheadAttention):
    """Same parameters and results; widths follow the weights, the scale stays the dense one."""

    scale: float
    packed: bool

    @classmethod
    def fits(cls, module: nn.Module) -> bool:
        """Tell whether the module has no extra key and value rows."""
        assert isinstance(module, nn.MultiheadAttention)
        return module.bias_k is None and not module.add_zero_attn

    @classmethod
    def adopt(cls, module: nn.Module) -> None:
        """Turn a multi-head attention into this class."""
        assert isinstance(module, nn.MultiheadAttention)
        module.__class__ = cls
        assert isinstance(module, cls)
        module.scale = module.head_dim**-0.5
        module.packed = module._qkv_same_embed_dim
        module._qkv_same_embed_dim = False  # keeps encoder layers off their fused path

    def resize(self, gone: Gone) -> None:
        """Set heads and widths after rows of the projections were removed."""
        name = "in_proj_weight" if self.packed else "q_proj_weight"
        rows = gone.get(name, {}).get(0)
        left = getattr(self, name).shape[0]
        if rows is not None:
            parts = 3 if self.packed else 1
            self.num_heads = heads_left(rows, left + len(rows), self.num_heads, parts)
        self.embed_dim = self.out_proj.weight.shape[0]
        self.head_dim = self.out_proj.weight.shape[1] // self.num_heads

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """See ``torch.nn.MultiheadAttention``."""
        batched = query.dim() == 3
        same = query is key and key is value
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = (self._split(x) for x in self._project(query, key, value, same))
        mask = _merge_masks(attn_mask, key_padding_mask, q, batched)
        out, weights = self._attend(q, k, v, mask, need_weights)
        out = self.out_proj(out.transpose(1, 2).flatten(2))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return (out if self.batch_first else out.transpose(0, 1)), weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor, same: bool) -> Any:
        bias = self.in_proj_bias
        if self.packed and same:
            return linear(query, self.in_proj_weight, bias).chunk(3, -1)
        weights = (
            self.in_proj_weight.chunk(3)
            if self.packed
            else (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        )
        biases = (None, None, None) if bias is None else bias.chunk(3)
        return [linear(*x) for x in zip((query, key, value), weights, biases, strict=True)]

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.num_heads, -1))
        return heads.transpose(1, 2)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        rate = self.dropout if self.training else 0.0
        if not need_weights:
            mixed: Tensor = scaled_dot_product_attention(q, k, v, mask, rate, scale=self.scale)
            return mixed, None
        scores = (q * self.scale) @ k.transpose(-2, -1)
        weights = torch.softmax(scores if mask is None else scores + mask, -1)
        weights = dropout(weights, rate) if rate else weights
        return weights @ v, weights


def _merge_masks(
    attn_mask: Tensor | None, padding: Tensor | None, q: Tensor, batched: bool
) -> Tensor | None:
    """Return one additive mask that broadcasts to ``[batch, heads, tokens, tokens]``."""
    merged: Tensor | None = None
    if attn_mask is not None:
        merged = _additive(attn_mask, q)
        if merged.dim() == 3:  # [batch * heads, tokens, tokens]
            merged = merged.unflatten(0, (q.shape[0], -1))
    if padding is not None:
        hidden = _additive(padding if batched else padding.unsqueeze(0), q)[:, None, None, :]
        merged = hidden if merged is None else merged + hidden
    return merged


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))
