"""A model in half precision is refused in words before anything is run."""

import pytest
import torch
from torch import nn

from autoprune.agent.preparing.precision import check_precision
from autoprune.errors import ModelError
from autoprune.tasks import Classification

BATCHES = [(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))]
TASK = Classification({split: BATCHES for split in ("train", "search", "test")})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_both_precisions_and_the_remedy_are_told(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2).to(dtype))
    with pytest.raises(ModelError) as caught:
        check_precision(model, TASK)
    name = str(dtype).removeprefix("torch.")
    for part in (f"weights are {name} ('1.weight' for one), the inputs float32", ".float()"):
        assert part in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_others_are_taken(dtype: torch.dtype) -> None:
    check_precision(nn.Linear(3, 2).to(dtype), TASK)
