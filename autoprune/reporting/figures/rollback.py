"""Decisions that were examined, as a timeline."""

from collections.abc import Sequence

import plotly.graph_objects as go

from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.reporting.figures.look import GREY, OUTCOME_LOOK, dots, drawn, lines
from autoprune.reporting.ledger_terminal import changes_of, word_of


def rollback_figure(entries: Sequence[LedgerEntry], title: str = "Rollback") -> go.Figure:
    """Return the regret of each decision in the order in which they were examined.

    Above zero the alternative had the lower score. What has no score stands at zero.
    """
    figure = go.Figure()
    for outcome in Outcome:
        own = [(at, one) for at, one in enumerate(entries, 1) if one.outcome is outcome]
        if own:
            figure.add_trace(
                dots(
                    [at for at, _ in own],
                    [one.regret or 0.0 for _, one in own],
                    [_text(at, one) for at, one in own],
                    word_of(outcome),
                    OUTCOME_LOOK[outcome],
                )
            )
    figure.add_hline(y=0, line={"color": GREY, "width": 1, "dash": "dot"})
    drawn(figure, title, height=320)
    figure.update_xaxes(title="decision examined")
    figure.update_yaxes(title="regret (score given away)")
    return figure


def _text(place: int, entry: LedgerEntry) -> str:
    chance = "" if entry.p_value is None else f"p {entry.p_value:.2g}, below {entry.threshold:.2g}"
    expected = entry.expected_regret
    return lines(
        f"decision {place}" + (f", step {entry.step}" if entry.step else ""),
        *changes_of(entry),
        "" if entry.regret is None else f"regret {entry.regret:+.4g}",
        "" if expected is None else f"expected {expected:+.4g}",
        f"{chance} needed" if chance else "",
        str(entry.outcome.value),
    )
