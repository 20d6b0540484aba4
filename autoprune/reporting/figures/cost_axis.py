"""An axis that is a cost: where evaluations, models and limits stand on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from autoprune.artifacts.result import Measured
from autoprune.core.costs import LATENCY
from autoprune.core.limit import Limit
from autoprune.reporting.asked_limits import limits_asked
from autoprune.reporting.cost_names import cost_name
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.figures.look import GREY, ORANGE, lines, plain

PREDICTED, MEASURED = "by the table", "measured"
LIMIT = ORANGE  # colour of limits, where one run is shown
_WIDE = 34  # characters that are beside each other on a telephone
_MANY = 4  # limits, whose lines bear no text


@dataclass(frozen=True)
class CostAxis:
    """A cost along an axis.

    Latencies of evaluations are predicted by the table, those of models that were returned are
    measured. Each is a share of the dense model's of its own kind, so that both are beside the
    same limit.

    Args:
        cost: The cost, as in a budget.
        shares: Whether it is shown as a share of the dense model's.
    """

    cost: str
    shares: bool

    @classmethod
    def of(cls, runs: Sequence[RunEvidence], cost: str) -> "CostAxis":
        """Return the axis for some runs.

        It shows amounts where a limit on latency is one, or a dense model's cost is not known.

        Args:
            runs: The runs.
            cost: A cost as in a budget.
        """
        known = all(run.share(cost, 1) is not None for run in runs)
        limits = [limit for run in runs for limit in limits_asked(run).get(cost, ())]
        absolute = cost.startswith(LATENCY) and not all(one.relative for one in limits)
        return cls(cost, known and not absolute)

    def tried(self, run: RunEvidence, amount: float) -> float | None:
        """Return where an evaluation stands."""
        return run.share(self.cost, amount) if self.shares else amount

    def returned(
        self, dense: Measured, model: Measured, share: float | None = None
    ) -> float | None:
        """Return where a model stands that was returned, None where that is not known.

        Args:
            dense: The dense model.
            model: The model.
            share: What it costs as a share of the dense one, where that was measured in pairs.
        """
        own, whole = (one.costs.as_dict().get(self.cost) for one in (model, dense))
        if own is None or not self.shares:
            return own
        return share or (own / whole if whole else None)

    def limit(self, run: RunEvidence, limit: Limit) -> float | None:
        """Return where a limit stands, None where that is not known."""
        if limit.relative is self.shares:
            return limit.amount
        whole = run.dense.get(self.cost)
        return self.tried(run, limit.resolve(whole)) if whole else None

    @property
    def title(self) -> str:
        """What the axis is called, with what is predicted on it; lines fit a telephone."""
        timed = self.cost.startswith(LATENCY)
        name, scale = cost_name(self.cost), "share of the dense model" if self.shares else ""
        if not timed:
            return plain(", ".join(filter(None, (name, scale))))
        parts = [name] if len(name) <= _WIDE else ["latency on", self.cost.removeprefix(LATENCY)]
        return lines(*parts, scale or "ms", f"{PREDICTED}; returned: {MEASURED}")

    def mark_limits(self, figure: go.Figure, run: RunEvidence, colour: str) -> None:
        """Draw a line at each limit of a run, and where it aims below one."""
        limits = limits_asked(run).get(self.cost, [])
        for one in limits:
            text = f"limit {one}" if len(limits) < _MANY else ""
            self._line(figure, self.limit(run, one), text, colour)
        aim = run.aims.get(self.cost)
        if aim is not None:
            self._line(figure, self.tried(run, aim), "aimed at", GREY)

    def _line(self, figure: go.Figure, at: float | None, text: str, colour: str) -> None:
        if at is None:
            return
        figure.add_vline(
            x=at,
            line={"color": colour, "width": 1.5, "dash": "dash"},
            annotation={"text": plain(text), "textangle": -90, "font": {"color": colour}},
            annotation_position="bottom right",
        )
