"""Batches as one, where they go together."""

from collections import OrderedDict
from typing import Any

import pytest
import torch

from autoprune.tasks.chunks import chunks, joined


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


IMAGES, LABELS = torch.arange(24.0).reshape(6, 4), torch.arange(6)
SIZES = [torch.zeros(3, side) for side in range(6)]


@pytest.mark.parametrize(
    "batch",
    [
        (IMAGES, LABELS),
        [IMAGES, LABELS],
        {"image": IMAGES, "labels": LABELS},
        OrderedDict(image=IMAGES, more={"labels": LABELS}),
        (SIZES, [{"boxes": one} for one in SIZES]),
        IMAGES,
    ],
)
def test_what_was_parted_is_joined_again(batch: Any) -> None:
    parts = chunks(batch, 6, 2)
    found, samples = joined(parts, [2, 2, 2])
    assert samples == 6
    assert type(found) is type(batch)
    assert same(found, batch)


@pytest.mark.parametrize(
    "second",
    [
        (torch.zeros(2, 5), torch.zeros(2)),
        ([torch.zeros(4)] * 2, torch.zeros(2)),
        (None, torch.zeros(2)),
        {"image": torch.zeros(2, 4)},
        (torch.zeros(2, 4), torch.zeros(2), 7),
        (torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)),
    ],
)
def test_what_does_not_go_together_is_left_out(second: Any) -> None:
    first = (torch.ones(2, 4), torch.ones(2))
    assert joined([first, second], [2, 2]) == (first, 2)
