"""``result.json``: the versioned summary of a run that other programs build on."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, model_validator

from autoprune.artifacts.files import write_text
from autoprune.artifacts.goal import Goal
from autoprune.artifacts.record import Document, Record
from autoprune.core.budget import Budget
from autoprune.core.costs import Costs
from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.core.progressive import Step
from autoprune.core.yardstick import Yardstick
from autoprune.errors import InputError

SCHEMA_FILE = Path(__file__).with_name("result.schema.json")


class Measured(Record):
    """One model, measured: quality is the task's metric (higher is better), 1 MAC = 2 FLOPs.

    Memory is that of activations at the peak of a forward, per sample; ``sparse`` costs leave
    out weights set to zero; latencies are milliseconds of one forward by target;
    parts are MACs and parameters of single modules that the budget limits.
    """

    quality_search: float
    quality_test: float
    macs: int
    params: int
    size_bytes: int
    memory_bytes: int
    sparse_macs: int
    sparse_size_bytes: int
    latency_ms: dict[str, float] = Field(default={})
    parts: dict[str, int] = Field(default={})

    @property
    def costs(self) -> Costs:
        """The costs alone."""
        return Costs(
            macs=self.macs,
            params=self.params,
            size=self.size_bytes,
            memory=self.memory_bytes,
            sparse_macs=self.sparse_macs,
            sparse_size=self.sparse_size_bytes,
            latency=self.latency_ms,
            parts=self.parts,
        )


class UnitChoice(Record):
    """What the policy does to one unit."""

    method: str
    sparsity: float = Field(ge=0, le=1)


class UnitCut(Record):
    """What was really cut from one unit; ``method`` is null where nothing was.

    ``macs_saved``: multiply-adds that the pruned model would have more if this unit alone were
    whole, of weights set to zero those that multiply with them; null where that is not known.
    """

    unit: str
    atoms: int
    kept: int
    method: str | None
    macs_saved: int | None = None


class Predictions(Record):
    """What predictions were worth that were made before the scores: in the order of trials.

    ``spearman``: rank correlation of expected and measured scores; ``coverage``: share of scores
    inside their 90% interval; null where there were too few to tell. ``ranked``: proposals that
    the predictor chose; ``spared``: candidates that it passed over as unable to beat the best.
    Of such candidates ``audited`` were evaluated all the same, and ``wrong`` of them did beat the
    best; ``wrong_at_most``: upper bound (95%) of the share that would.
    """

    count: int = 0
    spearman: float | None = None
    coverage: float | None = None
    ranked: int = 0
    spared: int = 0
    audited: int = 0
    wrong: int = 0
    wrong_at_most: float | None = None


class Rolledback(Record):
    """Decisions to which an alternative was scored: of the best policies so far, and of steps.

    Steps of a progressive run that went too far are not among them, for none was scored.

    ``reverted``: of them, those whose alternative was better by a paired test; ``together``: of
    these, pairs of units in the search; ``quality_regained``: the sum of what they gained, where
    several of one policy were reverted the most of it; ``sample_forwards``: what the alternatives
    took, which counts among the search's.
    """

    examined: int = 0
    reverted: int = 0
    together: int = 0
    quality_regained: float = 0.0
    sample_forwards: float = 0.0

    @classmethod
    def of(cls, entries: Iterable[LedgerEntry]) -> Self:
        """Sum up a ledger."""
        known = [one for one in entries if one.outcome is not Outcome.TOO_FAR]
        reverted = [one for one in known if one.outcome is Outcome.REVERTED]
        gained = dict[str, float]()
        for one in reverted:
            gain = (one.quality_after or 0.0) - one.quality_before
            policy = one.policy.fingerprint
            gained[policy] = max(gain, gained.get(policy, gain))
        return cls(
            examined=len(known),
            reverted=len(reverted),
            together=sum(len(one.units) > 1 and one.step == 0 for one in reverted),
            quality_regained=sum(gained.values()),
            sample_forwards=sum(one.sample_forwards for one in known),
        )


class SearchCost(Record):
    """What the search cost; ``sample_forwards`` are forwards of one sample by the dense model.

    Of them ``sensitivity_forwards`` were for the sensitivity table. ``stopped``: evaluations
    that were stopped early. ``warm_start``: evaluations of earlier runs that it started from.
    ``reused``: evaluations that other runs had paid for. ``seconds``: of probes, scoring and
    the training of finalists, summed over workers and sessions: not the time that went by.
    """

    evaluations: int
    sample_forwards: float
    seconds: float
    seed: int
    sampler: str = "tpe"
    sensitivity_forwards: float = 0.0
    stopped: int = 0
    reused: int = 0
    predictions: Predictions = Predictions()
    warm_start: int = 0
    rollback: Rolledback = Rolledback()


class ProgressiveStep(Record):
    """A step of a progressive run, and what became of it, the ones taken back included.

    ``training_steps``: how far the run was at its end; ``used``: what it was cut to, by cost
    that is limited, as shares of the dense model's; ``quality_search`` is null where it could
    not be trained; ``attempts``: how often it was tried, alternatives included.
    """

    training_steps: int
    used: dict[str, float]
    quality_search: float | None
    attempts: int
    outcome: str

    @classmethod
    def of(cls, step: Step) -> Self:
        """Return the record of a step."""
        return cls(
            training_steps=step.training_steps,
            used=dict(step.used),
            quality_search=step.quality,
            attempts=step.attempts,
            outcome=step.outcome.value,
        )


class Checks(Record):
    """Largest differences between outputs, relative to the largest one; null: not exported.

    ``onnx_sha256`` is the sum of the exported file; null also where an earlier version wrote it.
    """

    sliced_equals_masked: bool
    reload_max_diff: float
    onnx_max_diff: float | None
    onnx_sha256: str | None = Field(default=None)
    budget_met: bool
    latency: dict[str, "LatencyCheck"] = Field(default={})


class LatencyCheck(Record):
    """The pruned model against the dense one, in pairs, with a 95% interval of the ratio.

    ``busy``: the device did other work too, so the interval is wide.
    """

    ratio: float
    low: float
    high: float
    dense_ms: float
    pruned_ms: float
    pairs: int
    busy: bool


class Result(Document, title="autoprune result"):
    """The content of ``result.json``, schema version 1.

    ``uncounted`` are ops whose multiply-adds nobody counts: MACs are a lower bound then. ``goal``
    is null where the best model inside the budget was searched; ``steps`` are those of a
    progressive run, empty without one. Where the metric is not ``higher_is_better``, an error for
    one, qualities are minus the metric. ``is_share``: the metric is a share, in [0, 1], shown in
    percent and its changes in points; where an earlier version wrote the file, it is not told, and
    what lies there is taken for one. ``undone``: the quality on the search split that fine-tuning
    had come to, where it was so much worse than before that the model is kept as it was cut.
    """

    task: str
    metric: str
    dense: Measured
    pruned: Measured
    policy: dict[str, UnitChoice]
    cuts: list[UnitCut]
    budget: dict[str, str]
    search: SearchCost
    checks: Checks
    versions: dict[str, str]
    uncounted: list[str] = Field(default=[])
    goal: Goal | None = None
    steps: list[ProgressiveStep] = Field(default=[])
    higher_is_better: bool = Field(default=True)
    is_share: bool = Field(default=True)
    undone: float | None = Field(default=None)

    @model_validator(mode="after")
    def _both_tell_what_is_limited(self) -> Self:
        limits: Iterable[str] = ()
        with suppress(InputError):  # a newer version's, which are shown as they stand
            limits = Budget.parse(self.budget).limits
        for name, model in (("dense", self.dense), ("pruned", self.pruned)):
            lacking = sorted(
                {*limits, *self.dense.parts, *self.pruned.parts} - set(model.costs.as_dict())
            )
            if lacking:
                raise ValueError(f"{name!r} does not say its {', '.join(lacking)}")
        return self

    @property
    def yardstick(self) -> Yardstick:
        """How its figures are to be read."""
        return Yardstick.of({**vars(self), "dense_macs": self.dense.macs})


def schema_text(content: type[BaseModel] = Result) -> str:
    """Return the JSON schema of ``result.json``, the text of ``result.schema.json``."""
    form = content.model_json_schema(by_alias=True, mode="serialization")
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | form, indent=2) + "\n"


if __name__ == "__main__":
    write_text(SCHEMA_FILE, schema_text())
