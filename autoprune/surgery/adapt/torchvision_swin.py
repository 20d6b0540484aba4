"""torchvision's Swin attention whose heads may be narrower or fewer than when it was built."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear, normalize, pad
from torchvision.models.swin_transformer import ShiftedWindowAttention, ShiftedWindowAttentionV2

from autoprune.surgery.adapt.heads import Gone, heads_left

Pair = tuple[int, int]


class _Sliced(nn.Module):
    """What both versions share; widths follow the weights, the scale stays the dense one."""

    qkv: nn.Linear
    proj: nn.Linear
    num_heads: int
    window_size: list[int]
    shift_size: list[int]
    attention_dropout: float
    dropout: float
    scale: float

    @classmethod
    def fits(cls, module: nn.Module) -> bool:
        """Every instance is covered."""
        return True

    @classmethod
    def adopt(cls, module: nn.Module) -> None:
        """Turn a window attention into this class."""
        assert isinstance(module, ShiftedWindowAttention)
        width = module.qkv.out_features // 3 // module.num_heads  # still the dense one
        module.__class__ = cls
        module.scale = width**-0.5

    def resize(self, gone: Gone) -> None:
        """Set the number of heads after rows of the projection were removed."""
        rows = gone.get("qkv.weight", {}).get(0)
        if rows is not None:
            size = self.qkv.weight.shape[0] + len(rows)
            self.num_heads = heads_left(rows, size, self.num_heads)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[batch, height, width, channels]`` to the same shape."""
        height, width = x.shape[1:3]
        rows, columns = self.window_size
        x = pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
        padded = (x.shape[1], x.shape[2])
        shift = self._shift(padded)
        x = torch.roll(x, (-shift[0], -shift[1]), (1, 2)) if any(shift) else x
        mask = _shift_mask(x, padded, (rows, columns), shift) if any(shift) else None
        x = _to_windows(x, (rows, columns))
        x = linear(self._attend(x, mask), self.proj.weight, self.proj.bias)
        x = dropout(x, self.dropout, self.training)
        x = _from_windows(x, padded, (rows, columns))
        x = torch.roll(x, shift, (1, 2)) if any(shift) else x
        return x[:, :height, :width].contiguous()

    def _shift(self, padded: Pair) -> Pair:
        """Return the shift; along an axis that one window covers there is none."""
        pairs = zip(self.shift_size, self.window_size, padded, strict=True)
        first, second = (0 if window >= size else shift for shift, window, size in pairs)
        return first, second

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        heads = linear(x, self.qkv.weight, self._bias()).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        scores = self._scores(q, k) + self.get_relative_position_bias()  # type: ignore[operator]
        if mask is not None:
            scores = (scores.unflatten(0, (-1, mask.shape[0])) + mask[:, None]).flatten(0, 1)
        scores = dropout(torch.softmax(scores, -1), self.attention_dropout, self.training)
        mixed: Tensor = scores @ v
        return mixed.transpose(1, 2).flatten(2)

    def _bias(self) -> Tensor | None:
        return self.qkv.bias

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        return (q * self.scale) @ k.transpose(-2, -1)


class SlicedWindowAttention(_Sliced, ShiftedWindowAttention):  # type: ignore[misc]
    """Swin's window attention."""


class SlicedWindowAttentionV2(_Sliced, ShiftedWindowAttentionV2):  # type: ignore[misc]
    """Swin V2's window attention: cosine scores, and keys without a bias."""

    def _bias(self) -> Tensor | None:
        if self.qkv.bias is None:
            return None
        query, key, value = self.qkv.bias.chunk(3)
        return torch.cat([query, torch.zeros_like(key), value])

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        cosine = normalize(q, dim=-1) @ normalize(k, dim=-1).transpose(-2, -1)
        assert isinstance(self.logit_scale, Tensor)
        return cosine * torch.clamp(self.logit_scale, max=math.log(100.0)).exp()


def _to_windows(x: Tensor, window: Pair) -> Tensor:
    """``[batch, height, width, channels]`` to ``[batch * windows, places, channels]``."""
    x = x.unflatten(2, (-1, window[1])).unflatten(1, (-1, window[0]))
    return x.transpose(2, 3).flatten(0, 2).flatten(1, 2)


def _from_windows(x: Tensor, padded: Pair, window: Pair) -> Tensor:
    """Put windows back where `_to_windows` took them from."""
    down, across = padded[0] // window[0], padded[1] // window[1]
    x = x.unflatten(1, window).unflatten(0, (-1, down, across))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _shift_mask(x: Tensor, padded: Pair, window: Pair, shift: Pair) -> Tensor:
    """Return ``[windows, places, places]``: -100 between places that were not neighbours."""
    regions = x.new_zeros(padded)
    count = 0
    for top, bottom in ((0, -window[0]), (-window[0], -shift[0]), (-shift[0], None)):
        for left, right in ((0, -window[1]), (-window[1], -shift[1]), (-shift[1], None)):
            regions[top:bottom, left:right] = count
            count += 1
    places = _to_windows(regions[None, :, :, None], window).squeeze(-1)
    apart = places[:, :, None] != places[:, None, :]
    return torch.zeros_like(apart, dtype=x.dtype).masked_fill(apart, -100.0)
