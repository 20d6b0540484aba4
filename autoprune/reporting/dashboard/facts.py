"""What is known of a study beside its trials: its run, its finalists, its ledger, its result."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.study._frozen import FrozenStudy

from autoprune.agent.evaluating.outcomes import OUTRUN, RECOVERED
from autoprune.agent.housing.workspace import FRONT, RESULT
from autoprune.artifacts.front import Front
from autoprune.artifacts.result import Result
from autoprune.core.json_text import read_json
from autoprune.core.ledger import LedgerEntry
from autoprune.core.policy import Policy
from autoprune.core.stages import rank_of
from autoprune.core.yardstick import YARDSTICK, Yardstick
from autoprune.errors import AutopruneError
from autoprune.reporting.aimed_limits import AimedLimits
from autoprune.reporting.dashboard.looked_at import LookedAt
from autoprune.reporting.gather import written_in
from autoprune.storage.database import Database
from autoprune.storage.ledger import Ledger
from autoprune.storage.records import Evaluation
from autoprune.storage.watched import evaluations_that


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a study.

    Args:
        told: Its user attributes.
        listed: The run it is of; None for a study of somebody else.
        finalists: What was fine-tuned for longer.
        ledger: Decisions that were examined.
        result: The result of the run, if it is finished and its folder is here.
        front: Its front, likewise.
        points: Policies of the front's points.
    """

    told: Mapping[str, Any]
    listed: LookedAt | None = None
    finalists: Sequence[Evaluation] = ()
    ledger: Sequence[LedgerEntry] = ()
    result: Result | None = None
    front: Front | None = None
    points: Sequence[Policy] = ()

    @classmethod
    def of(cls, study: FrozenStudy, listed: LookedAt | None) -> "Facts":
        """Return what is known of a study now.

        Args:
            study: The study.
            listed: The run it is of.
        """
        if listed is None:
            return cls(told=study.user_attrs)
        front = written_in(listed.folder, FRONT, Front)
        return cls(
            told=study.user_attrs,
            listed=listed,
            finalists=evaluations_that(listed.database, listed.run.id, (RECOVERED, OUTRUN)),
            ledger=_ledger(listed.database, listed.run.id),
            result=written_in(listed.folder, RESULT, Result),
            front=front,
            points=_points(listed.folder, front),
        )

    @cached_property
    def yardstick(self) -> Yardstick:
        """How its figures are to be read: by its result, before that by what the run kept."""
        told = self.result or self.front
        if told is not None:
            return told.yardstick
        return Yardstick.of(self.listed.run.kept.get(YARDSTICK, {}) if self.listed else {})

    @property
    def config(self) -> Mapping[str, Any]:
        """Settings of the run; empty without one."""
        return self.listed.run.config if self.listed else {}

    @cached_property
    def limits(self) -> AimedLimits:
        """What the study says of its limits."""
        return AimedLimits(told=self.told, config=self.config)

    @cached_property
    def returned(self) -> list[Policy]:
        """The policies of the models that the run returned, as far as that is known."""
        if self.points:
            return list(self.points)
        if self.result is not None:
            chosen = {unit: one.model_dump() for unit, one in self.result.policy.items()}
            return [Policy.from_dict(chosen)]
        done = [one for one in self.finalists if one.outcome == RECOVERED]
        finished = self.listed is not None and self.listed.run.outcome is not None
        inside = [one for one in done if not self.limits.misses(one.policy)]
        if not finished or not inside or not self.limits.one_for_all:
            return []
        return [min(inside, key=lambda one: rank_of(one.quality, one.loss)).policy]


def _ledger(runs: Database, run_id: int) -> list[LedgerEntry]:
    with suppress(AutopruneError):  # of a newer autoprune
        return Ledger(runs, run_id).entries()
    return []


def _points(folder: Path | None, front: Front | None) -> list[Policy]:
    found = list[Policy]()
    for point in front.points if front and folder else ():
        assert folder is not None
        with suppress(OSError, ValueError, AutopruneError):
            told = read_json(folder / point.folder / RESULT)
            found.append(Policy.from_dict(told["policy"]))
    return found
