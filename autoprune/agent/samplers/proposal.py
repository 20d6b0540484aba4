"""What a sampler proposes, and what the trial keeps of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from optuna.trial import FrozenTrial

from autoprune.agent.feasible.encoding import Encoding, Rows
from autoprune.agent.samplers.attributes import (
    AGAIN,
    COEFFICIENTS,
    EXAMINES,
    PREDICTED,
    SCREENING,
    examined_by,
)
from autoprune.agent.samplers.claims import CLAIM
from autoprune.agent.samplers.known import Examined
from autoprune.predictor.prequential import Reliability, Screening

PREQUENTIAL = "prequential"  # what predictions before this one were worth
_KEPT = (PREDICTED, PREQUENTIAL, SCREENING, COEFFICIENTS)


@dataclass(frozen=True)
class Proposal:
    """What is to be scored next.

    Args:
        row: The policy, as of an `Encoding`.
        source: What it comes from, for instance ``anchor``, ``allocation`` or ``switch``.
        expected: The score that is expected of it; None where nothing is.
        low: Lower end of the 90% interval of its score.
        high: Upper end.
        screening: What was spared for it; None where predictions decided nothing.
        record: What predictions before this one were worth.
        examines: The decision that it is an alternative to, if it is one.
        coefficients: Those of the units' errors under which it was allocated, if these are
            searched.
        before: What a trial kept of it that was given back; empty if it is new.
        noted: System attributes of that trial, such as the generation that Optuna's sampler
            noted; not its claim.
    """

    row: Rows
    source: str
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    screening: Screening | None = None
    record: Reliability | None = None
    examines: Examined | None = None
    coefficients: Sequence[float] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    noted: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def again(cls, row: Rows, trial: FrozenTrial, encoding: Encoding) -> "Proposal":
        """Return what a trial that was given back was to score, with what was known of it then.

        Args:
            row: The policy.
            trial: The trial.
            encoding: The form of rows.
        """
        attributes = trial.user_attrs
        noted = {name: value for name, value in trial.system_attrs.items() if name != CLAIM}
        kept = {name: attributes[name] for name in _KEPT if name in attributes}
        source, examines = str(attributes.get("source", AGAIN)), examined_by(attributes, encoding)
        before = {**kept, AGAIN: True}
        return cls(row, source, examines=examines, before=before, noted=noted)

    @property
    def attributes(self) -> dict[str, Any]:
        """What a trial keeps of it: user attributes, so that dashboards show them."""
        found: dict[str, Any] = {"source": self.source, **self.before}
        if self.expected is not None:
            found[PREDICTED] = {n: getattr(self, n) for n in ("expected", "low", "high")}
        if self.record is not None:
            found[PREQUENTIAL] = asdict(self.record)
        if self.screening is not None:
            found[SCREENING] = asdict(self.screening)
        if self.coefficients:
            found[COEFFICIENTS] = list(self.coefficients)
        if self.examines is not None:
            own = self.examines
            found[EXAMINES] = {"row": own.row.tolist(), "units": list(own.units)}
        return found
