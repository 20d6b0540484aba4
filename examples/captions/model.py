"""Two towers, as in CLIP: a vision transformer for pictures, a text transformer for captions."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, scaled_dot_product_attention

from data import LENGTH, PAD, WORDS

SIDE, PATCH = 28, 7  # pixels


class Block(nn.Module):
    """Attention and MLP, each behind a layer norm and beside a shortcut.

    Args:
        width: Channels of every token.
        heads: Attention heads; they divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.head_width = width // heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, attended: Tensor | None = None) -> Tensor:
        """Map ``batch x tokens x width`` to the same; ``attended`` masks tokens out."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, -1, self.head_width)).unbind(2)
        q, k, v = (one.transpose(1, 2) for one in (q, k, v))
        found = scaled_dot_product_attention(q, k, v, attn_mask=attended)
        x = x + self.out(found.transpose(1, 2).flatten(2))
        x = x + self.mlp(self.norm2(x))
        return x


class ImageTower(nn.Module):
    """Cuts a grey image into patches and embeds it.

    Args:
        width: Channels of every token.
        depth: Number of blocks.
        heads: Attention heads of each.
        embedding: Width of the embedding.
    """

    def __init__(self, width: int, depth: int, heads: int, embedding: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, PATCH, PATCH)
        self.position = nn.Parameter(0.02 * torch.randn((SIDE // PATCH) ** 2, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, embedding, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images, ``batch x 1 x 28 x 28``, to ``batch x embedding``."""
        x = self.patches(images).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = block(x)
        found: Tensor = self.project(self.norm(x).mean(1))
        return found


class TextTower(nn.Module):
    """Embeds a caption: the mean of its words after some blocks.

    Args:
        width: Channels of every token.
        depth: Number of blocks.
        heads: Attention heads of each.
        embedding: Width of the embedding.
    """

    def __init__(self, width: int, depth: int, heads: int, embedding: int) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS), width)
        self.position = nn.Parameter(0.02 * torch.randn(LENGTH, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, embedding, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens, ``batch x LENGTH``, to ``batch x embedding``; padding is not looked at."""
        there = tokens != PAD
        x = self.words(tokens) + self.position
        for block in self.blocks:
            x = block(x, there[:, None, None])
        weights = there.to(x.dtype)[..., None]
        found: Tensor = self.project((self.norm(x) * weights).sum(1) / weights.sum(1))
        return found


class TwoTowers(nn.Module):
    """Embeds images and captions in one space; similarities have a learned scale.

    Args:
        width: Channels of every token, in both towers.
        depth: Blocks of each tower.
        heads: Attention heads of each block.
        embedding: Width of the embeddings.
    """

    def __init__(self, width: int, depth: int, heads: int, embedding: int) -> None:
        super().__init__()
        self.visual = ImageTower(width, depth, heads, embedding)
        self.text = TextTower(width, depth, heads, embedding)
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return embeddings, ``batch x embedding`` each and of length 1, and the scale."""
        scale = self.logit_scale.exp().clamp(max=100)
        return normalize(self.visual(images)), normalize(self.text(tokens)), scale


def two_towers(width: int = 64, depth: int = 2, heads: int = 4, embedding: int = 32) -> nn.Module:
    """Return an untrained `TwoTowers`."""
    return TwoTowers(width, depth, heads, embedding)
