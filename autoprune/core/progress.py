"""What a running search tells those who watch it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal[
    "trace", "latency", "importance", "sensitivity", "search", "measure", "recover", "verify"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One moment of a run.

    Args:
        stage: What the run is doing. ``latency`` measures on the device, ``sensitivity`` cuts
            units one at a time, ``search`` scores policies, ``measure`` runs candidates in pairs
            with the dense model and counts those inside, ``recover`` fine-tunes finalists.
        done: Steps of this stage that are finished, those of an earlier session included.
        total: Steps this stage will have at most.
        best_quality: The task's metric, as it is shown, of the best policy on the search split so
            far, if any.
        best_loss: Loss on the search split of the best policy so far, if any.
        feasible_macs: MACs of the best policy so far as a share of the dense model, if any.
        seconds_left: Estimated seconds until this stage ends, if it can be told.
        target: What is measured with, where the stage is about one target.
        note: One short sentence for a person, if there is something to say.
    """

    stage: Stage
    done: int
    total: int
    best_quality: float | None = None
    best_loss: float | None = None
    feasible_macs: float | None = None
    seconds_left: float | None = None
    target: str | None = None
    note: str | None = None


ProgressCallback = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Ignore every report."""
