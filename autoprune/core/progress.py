"""What a running search tells those who watch it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal[
    "wait",
    "trace",
    "latency",
    "importance",
    "sensitivity",
    "search",
    "measure",
    "recover",
    "verify",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchState:
    """How a search stands, beside what is best.

    Args:
        working: Policies that are being scored at this moment.
        lost: Workers that were lost and replaced in this session.
        why_lost: How the last of them came to its end; empty if none did.
        stopped: Evaluations that were stopped early.
        failed: Evaluations that failed.
        reused: Evaluations that somebody else had paid for.
        inside: Policies, of those that ended, whose price is inside what is aimed at now.
        predictions: Predictions that could be compared with scores.
        rank_correlation: Of predicted and measured scores, Spearman; None if it says nothing
            or there are too few to tell.
        coverage: Share of scores inside their 90% interval; None where there are too few to tell.
        decides: Whether predictions decide what is scored.
        examined: Decisions to which an alternative was scored.
        reverted: Of them, those whose alternative was better.
    """

    working: int = 0
    lost: int = 0
    why_lost: str = ""
    stopped: int = 0
    failed: int = 0
    reused: int = 0
    inside: int = 0
    predictions: int = 0
    rank_correlation: float | None = None
    coverage: float | None = None
    decides: bool = False
    examined: int = 0
    reverted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An evaluation that came to its end.

    Args:
        number: Number of its trial.
        source: What proposed its policy.
        outcome: How it ended: ``scored``, or why it did not get there.
        quality: The task's metric, as it is shown, if it was reached.
        score: What policies are compared by, lower is better, if it was reached.
        expected: The score that was predicted, if one was.
        seconds: How long it took.
    """

    number: int
    source: str
    outcome: str
    quality: float | None
    score: float | None
    expected: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One moment of a run.

    Args:
        stage: What the run is doing. ``wait`` is for what other agents do, ``latency`` measures
            on the device, ``sensitivity`` cuts units one at a time, ``search`` scores policies,
            ``measure`` runs candidates in pairs with the dense model and counts those inside,
            ``recover`` fine-tunes finalists.
        done: Steps of this stage that are finished, those of an earlier session included.
        total: Steps this stage will have at most.
        best_quality: The task's metric, as it is shown, of the best policy on the search split so
            far, if any: of ``search`` the one of the best score, which need not have the best
            metric; of ``recover`` the best of those that got furthest.
        is_share: Whether the metric is a share, shown in percent.
        best_loss: Loss on the search split of the best policy so far, if any.
        feasible_macs: MACs of the best policy so far as a share of the dense model, if any.
        seconds_left: Estimated seconds until this stage ends, if it can be told.
        target: What is measured with, where the stage is about one target.
        note: One short sentence for a person, if there is something to say.
        state: How the search stands, of stage ``search``.
        ended: Evaluations that came to their end since the last report.
    """

    stage: Stage
    done: int
    total: int
    best_quality: float | None = None
    is_share: bool = True
    best_loss: float | None = None
    feasible_macs: float | None = None
    seconds_left: float | None = None
    target: str | None = None
    note: str | None = None
    state: SearchState | None = None
    ended: tuple[Ended, ...] = ()


ProgressCallback = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Ignore every report."""
