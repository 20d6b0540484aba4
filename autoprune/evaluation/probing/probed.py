"""What is gathered of a model under probe, and what it comes to."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from autoprune.core.arrays import Floats
from autoprune.core.policy import Policy
from autoprune.core.user_code import blame
from autoprune.errors import CandidateError, InputError, ModelError
from autoprune.evaluation.probing.forwards import MismatchError
from autoprune.tasks.base import Metric

SAME = 1e-5  # share of the largest output by which a shared forward may differ from a whole one


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What one probe found.

    Args:
        loss: Mean loss; None if the probe failed.
        quality: The task's metric; None if the probe failed.
        stderr: Standard error of the mean difference of the loss to the dense model's, paired
            by samples.
        reason: Why the probe failed, if it did.
        sample_forwards: Cost, in forwards of one sample by the dense model.
        seconds: Cost, in seconds of wall clock.
    """

    loss: float | None
    quality: float | None
    stderr: float
    reason: str | None = None
    sample_forwards: float = 0.0
    seconds: float = 0.0


@dataclass
class UnderProbe:
    """A model under probe: what was gathered of it so far, or why it failed.

    Args:
        policy: What it is cut by.
        share: Its multiply-adds as a share of the dense model's.
        model: The model, if it could be built.
        metric: The task's metric, that takes in its outputs.
        losses: Mean loss of each batch.
        reason: Why it failed, if it did.
        cost: What it cost, in forwards of one sample by the dense model.
    """

    policy: Policy
    share: float
    model: nn.Module | None = None
    metric: Metric | None = None
    losses: list[float] = field(default_factory=list)
    reason: str | None = None
    cost: float = 0.0

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Keep what the user's forward raises as the reason why this candidate failed."""
        try:
            yield
        except (InputError, MismatchError):
            raise
        except (MemoryError, torch.OutOfMemoryError) as err:
            raise ModelError(
                f"Memory ran out while a unit was probed: {blame(err)} Lower the batch size of "
                "the loaders. What was probed before is kept."
            ) from err
        except CandidateError as err:
            self.reason = str(err)
        except Exception as err:  # the user's forward may raise anything
            self.reason = blame(err)


def paired(losses: Floats, dense: Floats, counts: Floats) -> tuple[float, float]:
    """Return the mean loss, and the standard error of its mean difference to the dense loss.

    Where there is one batch only, nobody knows the noise: it is taken to be as large as the
    difference.
    """
    weights = counts / counts.sum()
    gaps = losses - dense
    mean = float(weights @ gaps)
    if len(gaps) == 1:
        return float(losses[0]), abs(mean)
    spread = float((weights**2) @ (gaps - mean) ** 2) * len(gaps) / (len(gaps) - 1)
    return float(weights @ losses), math.sqrt(spread)


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Tell whether two outputs differ by rounding at most."""
    if one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    largest = float(one.abs().nan_to_num(0, 0, 0).max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=SAME * largest, equal_nan=True)
