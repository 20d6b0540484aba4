"""What a sampler proposes, and what the trial keeps of it."""

from dataclasses import asdict, dataclass
from typing import Any

from autoprune.agent.encoding import Rows
from autoprune.agent.samplers.attributes import EXAMINES, PREDICTED, SCREENING
from autoprune.agent.samplers.known import Examined
from autoprune.predictor.prequential import Reliability, Screening


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
    """

    row: Rows
    source: str
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    screening: Screening | None = None
    record: Reliability | None = None
    examines: Examined | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """What a trial keeps of it: user attributes, so that dashboards show them."""
        found: dict[str, Any] = {"source": self.source}
        if self.expected is not None:
            found[PREDICTED] = {n: getattr(self, n) for n in ("expected", "low", "high")}
        if self.record is not None:
            found["prequential"] = asdict(self.record)
        if self.screening is not None:
            found[SCREENING] = asdict(self.screening)
        if self.examines is not None:
            own = self.examines
            found[EXAMINES] = {"row": own.row.tolist(), "units": list(own.units)}
        return found
