"""What a rival is given, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.core.target import Target
from autoprune.cost.count import count_costs
from autoprune.evaluation.measuring.measure import measure
from autoprune.surgery.nested import Inputs
from autoprune.tasks import Task
from benchmarks.peers.counting import counting
from benchmarks.peers.subjects import SUBJECTS

# PyTorch takes a millisecond to call the layers of the small models, whatever their widths.
TARGET = Target.parse("onnxruntime/threads=1/batch=8")
BATCH = 2  # samples of a trace; fewer would not tell which axis they are


@dataclass(frozen=True, kw_only=True)
class Given:
    """A trained model to be pruned.

    Args:
        subject: Name of the model, one of `SUBJECTS`.
        model: The dense model in eval mode; a rival may change it.
        task: Its data, loss and metric.
        macs: Limit on multiply-adds, as a share of the dense model's.
        latency: Limit on latency as a share, for those that know one; ``macs`` is for the others.
        seed: Whatever is drawn at random depends on it.
        evaluations: Policies that searches score.
    """

    subject: str
    model: nn.Module
    task: Task
    macs: float
    latency: float | None
    seed: int
    evaluations: int

    @classmethod
    def of(cls, subject: str, **rest: Any) -> "Given":
        """Build the model and the data of a subject."""
        one = SUBJECTS[subject]
        return cls(subject=subject, model=one.model(), task=one.task(), **rest)

    @property
    def heads(self) -> list[nn.Module]:
        """The modules of ``model`` that give its outputs."""
        return self.heads_of(self.model)

    def heads_of(self, model: nn.Module) -> list[nn.Module]:
        """Return the same modules of a copy of the model."""
        return [model.get_submodule(name) for name in SUBJECTS[self.subject].heads]

    @cached_property
    def inputs(self) -> Inputs:
        """Arguments of one forward of `BATCH` search samples."""
        return self.task.trace_inputs(BATCH)

    @property
    def images(self) -> Tensor:
        """The only argument of a forward."""
        (images,) = self.inputs
        assert isinstance(images, Tensor)
        return images

    @cached_property
    def dense_macs(self) -> int:
        """Multiply-adds of the dense model for one sample; asked before a rival changes it."""
        return count_costs(self.model, self.inputs, BATCH).macs

    @cached_property
    def one_forward(self) -> float:
        """What is counted of a forward of one sample; asked before a rival changes the model."""
        with counting() as count, torch.no_grad():
            self.model(*self.inputs)
        return count.macs / BATCH

    def share(self, model: nn.Module) -> float:
        """Return the multiply-adds of a smaller model, counted exactly, as a share."""
        return count_costs(model, self.inputs, BATCH).macs / self.dense_macs

    def score(self, model: nn.Module) -> float:
        """Return the metric on the search split."""
        return measure(model, self.task, "search", "cpu").quality


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What a rival gives back.

    Args:
        model: A smaller model, not yet trained.
        aside: Multiply-adds that were counted while it pruned and are no part of the search;
            below zero for a part that an earlier search has paid for.
        aside_s: The same in seconds.
        facts: What else there is to tell, as plain JSON types.
    """

    model: nn.Module
    aside: float = 0.0
    aside_s: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)


Prune = Callable[[Given], Pruned]
