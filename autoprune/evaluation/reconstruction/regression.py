"""Weights of one layer by ridge regression towards what they are."""

import torch
from torch import Tensor

from autoprune.evaluation.reconstruction.layer_rows import Layer

RIDGE = 0.1  # of the mean square of what a layer reads: how much weights stay as they are
AUDITED = 8  # one of so many places tells whether a fit is better than what it began with


def fit(layer: Layer, read: Tensor, wanted: Tensor, *, normed: bool) -> int:
    """Fit weight and bias in place, unless that is no better at places apart.

    Args:
        layer: The layer.
        read: What it reads, ``groups x places x inputs of a group``.
        wanted: What it is to give, ``places x outputs``.
        normed: Whether it does not matter by how much all outputs of a channel are off.

    Returns:
        Multiply-adds of the regression.
    """
    exact = torch.promote_types(layer.weight.dtype, torch.float32)
    with torch.autocast(read.device.type, enabled=False):
        return _fit(layer, read.to(exact), wanted.to(exact), normed)


def _fit(layer: Layer, read: Tensor, wanted: Tensor, normed: bool) -> int:
    groups, rows, width = read.shape
    given = wanted.reshape(rows, groups, -1).transpose(0, 1)
    old = layer.weight.to(read.dtype).reshape(groups, -1, width).mT
    apart = rows // AUDITED
    own, wish = read[:, apart:], given[:, apart:]
    mean, level = torch.zeros_like(own[:, :1]), torch.zeros_like(wish[:, :1])
    if normed or layer.bias is not None:
        mean, level = own.mean(1, keepdim=True), wish.mean(1, keepdim=True)
    own, wish = own - mean, wish - level
    new = old + _change(own, wish - own @ old)

    def error(weight: Tensor, offset: Tensor) -> Tensor:
        gap = read[:, :apart] @ weight + offset - given[:, :apart]
        return gap.square().sum()

    offset = before = level - mean @ new
    if normed:
        before = level - mean @ old
    elif layer.bias is not None:
        before = layer.bias.to(read.dtype).reshape(groups, 1, -1)
    if error(new, offset) < error(old, before):  # false for numbers that are not finite, too
        layer.weight.copy_(new.mT.reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.copy_(offset.reshape(-1))
    return groups * _macs(rows, width, new.shape[-1])


def _change(own: Tensor, gap: Tensor) -> Tensor:
    """Return what to add to the weights: the smaller of the two systems is solved."""
    rows, width = own.shape[1:]
    ridge = RIDGE * own.square().sum((1, 2)) / width + torch.finfo(own.dtype).tiny
    wide = width > rows
    system = own @ own.mT if wide else own.mT @ own
    system.diagonal(dim1=-2, dim2=-1).add_(ridge[:, None])
    solved: Tensor = torch.linalg.solve(system, gap if wide else own.mT @ gap)
    return own.mT @ solved if wide else solved


def _macs(rows: int, width: int, outputs: int) -> int:
    side = min(rows, width)
    solving = side**3 // 3 + side**2 * outputs
    return rows * width * (side + 4 * outputs) + solving
