"""The driver of a search without a network: loop, sampler, storage and company as they are."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.scoring import Scoring
from autoprune.agent.feasible.encoding import Encoding
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.housing.company import Shared
from autoprune.agent.housing.heart import Heart
from autoprune.agent.housing.presence import Presence
from autoprune.agent.loop.loop import Loop
from autoprune.agent.rollback.rollback import Rollback
from autoprune.agent.samplers.names import Start, make_sampler
from autoprune.core.policy import Policy
from autoprune.core.progress import ProgressCallback
from autoprune.core.recovery import Recovery
from autoprune.core.stages import MOST_VALUES, Stage
from autoprune.core.workers import Crew, Workers
from autoprune.evaluation.scoring.way import fingerprint_of
from autoprune.space.schema import kept_atoms
from autoprune.storage.agents import Agents
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.ledger import Ledger
from autoprune.storage.records import Evaluation
from autoprune.storage.study import close_study, open_study
from autoprune.testing.chains import chain

METHODS = ("channel.l1", "channel.l2", "channel.taylor")
_NOISE = 0.02  # deviation of scores


def space(units: int = 50, levels: int = 15) -> Projection:
    """Return a chain of layers at half of its multiply-adds."""
    width = 4 * (levels + 1)
    kept = {f"u{number}": range(width, width - 4 * levels, -4) for number in range(units)}
    return chain(kept, "macs=50%", METHODS)


@dataclass(frozen=True)
class StandIn:
    """What a driver asks of a `Scorer` beside scores.

    Args:
        projection: What is feasible.
    """

    projection: Projection
    recovery: Recovery = field(default_factory=Recovery)
    task: Any = field(
        default_factory=lambda: SimpleNamespace(higher_is_better=True, is_share=True)
    )

    @property
    def finalists(self) -> int:
        """How many would be trained for longer."""
        return self.recovery.finalists_if(halved=True)

    def fingerprint(self, steps: int) -> str:
        """Identity of the way of scoring, worked out as a `Scorer` does."""
        return fingerprint_of(self.recovery, steps, 0, None, "cpu")

    def kept(self, policy: Policy) -> dict[str, int]:
        """Return the atoms kept of each unit the policy cuts."""
        spaces = self.projection.spaces
        return {unit: kept_atoms(spaces[unit].atoms, c.sparsity) for unit, c in policy.items()}


class Scores:
    """Scores of policies of a chain: what is cut counts by its square, methods differ a little.

    Args:
        projection: What is feasible.
        rng: Draws noise.
    """

    def __init__(self, projection: Projection, rng: np.random.Generator) -> None:
        self._encoding, self._rng = Encoding(projection.spaces), rng
        self._weights = 1 + np.arange(self._encoding.units) % 7
        self._places = {unit: at for at, unit in enumerate(projection.spaces)}

    def __call__(self, job: Scoring, seconds: float) -> Evaluation:
        """Return the evaluation of a job, with stages as the default settings give them."""
        cut = np.zeros(self._encoding.units)
        for unit, choice in job.policy.items():
            own = METHODS.index(choice.method) == self._places[unit] % len(METHODS)
            cut[self._places[unit]] = choice.sparsity * (1.0 if own else 1.1)
        score = float((self._weights * cut**2).mean()) + self._rng.normal(0, _NOISE) + 1.0
        stages = [self._stage(steps, samples, score * at) for steps, samples, at in _STAGES]
        return Evaluation(
            *(job.policy, "scored", score, -score, 100.0, seconds),
            score=stages[-1].value,
            stages=tuple(stages),
        )

    def _stage(self, steps: int, samples: int, value: float) -> Stage:
        values = value + self._rng.normal(0, 0.1, MOST_VALUES)
        told = tuple(float(f"{one:.6g}") for one in values)
        return Stage(steps, samples, value, told, -value)


_STAGES = ((27, 1_000, 1.6), (80, 1_000, 1.2), (80, 2_000, 1.0))


@contextmanager
def driving(
    folder: Path,
    server: str | None,
    projection: Projection,
    workers: Workers[Scoring, Evaluation],
    trials: int,
    progress: ProgressCallback,
    sampler: str = "budgeted",
    name: str = "scale",
) -> Iterator[Loop]:
    """Yield the loop of a new run, which lives where one of a search would.

    Args:
        folder: The run's folder.
        server: URL of a PostgreSQL that the run lives on; None for SQLite files: one of the run
            and one that runs share.
        projection: What is feasible.
        workers: Who scores policies.
        trials: Evaluations to end with.
        progress: Told after every evaluation.
        sampler: Name of the sampler.
        name: Name of the run.
    """
    proposes = make_sampler(sampler, Start(projection=projection, seed=0))
    fingerprints: Mapping[str, str] = {"model_fp": "model", "data_fp": "data"}
    with ExitStack() as stack:
        shared = stack.enter_context(
            closing(Database.open(server or sqlite_url(folder / "shared.db")))
        )
        own = (
            shared
            if server
            else stack.enter_context(closing(Database.open(sqlite_url(folder / "run.db"))))
        )
        run = own.start_run(name, {}, **fingerprints)
        shared_id = run if server else shared.start_run(name, {}, **fingerprints)
        heart = stack.enter_context(Heart(folder))
        presence = stack.enter_context(Presence(Agents(shared), shared_id, heart))
        study = open_study(own.url, name, sampler=proposes)
        stack.callback(close_study, study)
        scorer: Any = StandIn(projection)
        yield Loop(
            study=study,
            sampler=proposes,
            evaluations=Evaluations(
                database=own,
                run_id=run,
                scorer=scorer,
                folder=folder,
                shared=None if server else shared,
                **fingerprints,
            ),
            crew=Crew(workers),
            company=Shared(presence, shared, name if server else None),
            rollback=Rollback(Ledger(own, run), projection),
            trials=trials,
            timeout=None,
            progress=presence.noting(progress),
        )
