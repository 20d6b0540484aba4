"""What is known of a run, as plain data: reports and figures are made of this and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from autoprune.agent.housing.reached import has_one_budget
from autoprune.artifacts.front import Front
from autoprune.artifacts.result import Result
from autoprune.core.ledger import LedgerEntry
from autoprune.core.yardstick import Yardstick
from autoprune.predictor.prequential import Prediction

Fate = Literal["scored", "reverted", "stopped", "failed", "infeasible", "given back", "running"]
FATES: dict[Fate, str] = {
    "scored": "scored",
    "reverted": "reverted a decision: better on the same samples",
    "stopped": "stopped early: worse than the best",
    "failed": "failed",
    "infeasible": "over the budget",
    "given back": "given back: scored later, or known already",
    "running": "running: being scored, or its process died",
}


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One trial of the search.

    Args:
        number: Its place among the trials, from 0.
        fate: What became of it.
        said: Its outcome in words, the reason of a failure included.
        source: What proposed it, for instance ``allocation`` or ``rollback``.
        score: What ranks it, lower is better; None if it was not scored to the end.
        quality: The task's metric on the search split (higher is better), None if not reached.
        costs: Costs of its policy by name; empty if it was not told any.
        spared: Candidates that were passed over for it, as by prediction none could be the best.
        prediction: What was expected of it; None if nothing was, or it was not scored.
        record: Of predictions before it: ``count``, ``spearman``, ``coverage``; None without any.
    """

    number: int
    fate: Fate
    said: str
    source: str
    score: float | None
    quality: float | None
    costs: Mapping[str, float]
    spared: int = 0
    prediction: Prediction | None = None
    record: Mapping[str, Any] | None = None

    @property
    def counts(self) -> bool:
        """Whether it was scored to the end inside the budget, so that it may be the best."""
        return self.fate in ("scored", "reverted") and self.score is not None


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A policy that was fine-tuned for longer.

    Args:
        policy: Fingerprint of the policy.
        done: Whether it was trained to the end; else others had outrun it.
        said: Its outcome in words.
        score: Score at the end; None if it did not get there.
        quality: Quality on the search split where it got to; None if it was not measured.
        steps: Training steps it had.
        seconds: What training took.
        sample_forwards: The same in forwards of one sample by the dense model.
    """

    policy: str
    done: bool
    said: str
    score: float | None
    quality: float | None
    steps: int
    seconds: float
    sample_forwards: float


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a part of a run took; None where it was not written down.

    Args:
        part: The part, in words.
        seconds: Wall clock, of all workers together.
        sample_forwards: Forwards of one sample by the dense model.
    """

    part: str
    seconds: float | None
    sample_forwards: float | None


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """What predicted the latency of policies on one target.

    Args:
        target: The target.
        device: Facts of the device.
        fingerprint: Tells the device apart.
        layers: Sizes of layers that were timed.
        models: Whole models that the table was fitted to.
        error: What one that the fit has not seen is missed by on average, as a share.
        predicted_ms: What it predicts of the model that was returned; None if that is not known.
    """

    target: str
    device: Mapping[str, str]
    fingerprint: str
    layers: int
    models: int
    error: float
    predicted_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Sensed:
    """What units give up when they alone are cut and not trained.

    Args:
        errors: Loss given up by unit, by method, at each level.
        sparsities: Share of the atoms that each level removes, by unit; empty where an older
            autoprune did not write it down.
    """

    errors: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    sparsities: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def at(self, unit: str, method: str, sparsity: float) -> float | None:
        """Return the loss that a choice gives up by the table, None if that is not known."""
        levels = self.sparsities.get(unit)
        errors = self.errors.get(unit, {}).get(method)
        if not levels or not errors:
            return None
        level = min(range(len(levels)), key=lambda at: abs(levels[at] - sparsity))
        return errors[level] if level < len(errors) else None


@dataclass(frozen=True, kw_only=True)
class RunEvidence:
    """One run.

    Args:
        name: Its name.
        state: ``running``, ``finished`` or ``stopped``.
        begun: When it was started, in UTC.
        settings: What it was asked, plain JSON types.
        sessions: What those who worked on it were told, the last one last: ``runner``, ``kind``,
            ``workers``, ``device``, ``timeout``, ``joined``; empty where that was not kept.
        source: The search file it came from; empty if none did.
        model_fp: Fingerprint of the dense model.
        data_fp: Fingerprint of the data.
        result: Its result; of a front that of none.
        front: Its front, if it searched one.
        points: The result of each point of the front that is there, by folder.
        missing: What is not there, in sentences.
        dense: Costs of the dense model as the search had them, latencies by their tables; empty
            before it told them.
        aims: What is aimed at below the limits that were missed by measurement, absolute.
        trials: What was tried, oldest first.
        finalists: What was fine-tuned for longer.
        ledger: Decisions that were examined, oldest first.
        sensed: The sensitivity table.
        latency: What predicted latencies, one for each target.
        spent: Where the time went.
        progress: How far a running one is, in words; empty if that is not known.
        kept: How its figures are to be read, as it said when it began.
    """

    name: str
    state: str
    begun: datetime
    settings: Mapping[str, Any]
    sessions: Sequence[Mapping[str, Any]] = ()
    source: str = ""
    model_fp: str = ""
    data_fp: str = ""
    result: Result | None = None
    front: Front | None = None
    points: Mapping[str, Result] = field(default_factory=dict)
    missing: Sequence[str] = ()
    dense: Mapping[str, float] = field(default_factory=dict)
    aims: Mapping[str, float] = field(default_factory=dict)
    trials: Sequence[Evaluated] = ()
    finalists: Sequence[Finalist] = ()
    ledger: Sequence[LedgerEntry] = ()
    sensed: Sensed = field(default_factory=Sensed)
    latency: Sequence[LatencyTable] = ()
    spent: Sequence[Spent] = ()
    progress: str = ""
    kept: Yardstick = field(default_factory=Yardstick)

    @property
    def told(self) -> Result | Front | None:
        """The result or the front, None of a run without one."""
        return self.result or self.front

    @property
    def metric(self) -> str:
        """Name of the metric; "quality" where a run of an earlier version has no result yet."""
        return self.yardstick.metric

    @property
    def yardstick(self) -> Yardstick:
        """How its figures are to be read: by its result, before that by what the run kept."""
        return self.told.yardstick if self.told else self.kept

    @property
    def one_for_all(self) -> bool:
        """Whether all trials are for one budget, so that the lowest score is the best."""
        return has_one_budget(self.settings)

    def share(self, cost: str, amount: float) -> float | None:
        """Return an amount of a cost as a share of the dense model's, None if that is not known.

        Latencies are those of the tables here, for both.
        """
        dense = self.dense.get(cost)
        return amount / dense if dense else None
