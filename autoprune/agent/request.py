"""What a search is asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from torch import nn

from autoprune.agent.housing.workspace import IfExists
from autoprune.agent.samplers.names import DEFAULT
from autoprune.artifacts.constructor import Constructor
from autoprune.core.budget import Budget
from autoprune.core.ledger import ROLLBACK
from autoprune.core.pareto import POINTS, Pareto, front_text
from autoprune.core.population import Populate
from autoprune.core.progress import ProgressCallback
from autoprune.core.recover_function import RecoverFunction
from autoprune.core.recovery import Recovery
from autoprune.core.tolerance import Tolerance
from autoprune.core.workers import Hire, inline
from autoprune.space.schema import SearchSpace
from autoprune.tasks import Task
from autoprune.tasks.base import identity_of


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a search is asked to do.

    Args:
        model: The trained dense model; it is not changed.
        task: Data, loss and metric.
        budget: The limits.
        space: What may be chosen.
        trials: Policies to score.
        timeout: Seconds after which this session scores no more, None for no limit.
        seed: Seed of everything random.
        out: Folder of the run.
        if_exists: What to do if the folder holds a run.
        recovery: How much candidates are fine-tuned.
        recover: The user's own training of finalists, None for ours.
        runner: What was said of where this is: ``runner``, a name or empty for an object, its
            ``kind`` and its ``workers``; empty if nobody says.
        hire: Starts those who probe units and score policies.
        populate: Trains finalists as a population; None where each is trained by itself.
        constructor: What builds the dense architecture, so that the result can be loaded.
        device: Where to compute, ``cpu`` or ``cuda:0``.
        onnx: Whether the result is exported to ONNX.
        sampler: Name of what proposes policies.
        sensitivity: Whether samplers that use the sensitivity table get one.
        pareto: The front that is searched; ``budget`` is that of its largest point then.
        points: How many limits it has.
        tolerance: How much quality the smallest model may give up; ``budget`` is that of the
            highest limit then.
        database: URL or file of the database that runs share; None for the user's own. On a
            server the run itself lives there too.
        name: Name of the run on a server; None for that of its folder.
        source: The search file, for agents that join.
        warm_start: Folders of earlier runs whose evaluations the search starts from.
        rollback: Share of our sampler's proposals, at most, that examine decisions.
        progress: Told what happens.
    """

    model: nn.Module
    task: Task
    budget: Budget
    space: SearchSpace
    trials: int
    timeout: float | None
    seed: int
    out: Path
    if_exists: IfExists
    recovery: Recovery
    constructor: Constructor | None
    device: str
    onnx: bool
    database: str | None
    progress: ProgressCallback
    sampler: str = DEFAULT
    sensitivity: bool = True
    rollback: float = ROLLBACK
    pareto: Pareto | None = None
    points: int = POINTS
    tolerance: Tolerance | None = None
    warm_start: tuple[Path, ...] = ()
    recover: RecoverFunction | None = None
    runner: Mapping[str, Any] = field(default_factory=dict)
    hire: Hire = inline
    populate: Populate | None = None
    name: str | None = None
    source: Path | None = None

    @property
    def traded(self) -> str | None:
        """The cost that quality is traded for at several limits, None inside one budget."""
        aim = self.pareto or self.tolerance
        return aim.cost if aim else None

    @property
    def session(self) -> dict[str, Any]:
        """What may be different where the run is resumed, as plain JSON types."""
        limited = self.timeout is not None and isfinite(self.timeout)
        timeout = self.timeout if limited else None
        return {**self.runner, "device": self.device, "timeout": timeout}

    def config(self, model_fp: str, data_fp: str) -> dict[str, Any]:
        """Return what a resumed run is compared with, as plain JSON types."""
        return {
            "model": model_fp,
            "data": data_fp,
            "task": self.task.name,
            "task_identity": identity_of(self.task),
            "budget": self.budget.to_dict(),
            "space": self.space.model_dump(mode="json", by_alias=True),
            "trials": self.trials,
            "seed": self.seed,
            "recovery": self.recovery.to_dict(),
            "recover": self.recover and self.recover.name,
            "onnx": self.onnx,
            "sampler": self.sampler,
            "sensitivity": self.sensitivity,
            "rollback": self.rollback,
            "pareto": self.pareto and front_text(self.pareto, self.points),
            "tolerance": self.tolerance and str(self.tolerance),
            "warm_start": [str(folder.absolute()) for folder in self.warm_start] or None,
        }
