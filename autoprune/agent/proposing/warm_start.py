"""Warm start: what earlier runs found, in the words of this search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from autoprune.agent.evaluating.outcomes import SCORED
from autoprune.agent.feasible.encoding import Encoding, Params, params_near
from autoprune.agent.housing.home import Lodging
from autoprune.agent.housing.workspace import DATABASE, STUDY, WARM_START
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.pool import Pool
from autoprune.agent.samplers.promising import promising
from autoprune.core.paths import resolved
from autoprune.core.policy import Policy
from autoprune.errors import ConfigError
from autoprune.space.schema import UnitSpace
from autoprune.storage.read_only import opened_to_read
from autoprune.storage.records import Evaluation, EvaluationKey

_SHARED = 0.5  # share of this search's units that an earlier run must have cut once at least


@dataclass(frozen=True)
class EarlierRun:
    """What one earlier run scored to the end.

    Args:
        folder: Its folder, absolute.
        policies: Policies, oldest first.
        scores: Their scores, lower is better.
    """

    folder: str
    policies: Sequence[Policy]
    scores: Sequence[float]

    def known(self, encoding: Encoding) -> Known:
        """Return all of it in rows of this search; several policies may lie nearest to one."""
        rows = [encoding.row(params_near(policy, encoding.spaces)) for policy in self.policies]
        scores = np.array(self.scores, float)
        return Known(np.stack(rows), scores, [{}] * len(rows), [], np.stack(rows)[:0], set())

    def check(self, spaces: Mapping[str, UnitSpace]) -> None:
        """Refuse a run of another model.

        Raises:
            ConfigError: If it has less than half of the units.
        """
        cut = {unit for policy in self.policies for unit in policy}
        shared = len(spaces.keys() & cut)
        if shared < _SHARED * len(spaces):
            raise ConfigError(
                f"The run in {self.folder} cannot warm-start this search: of the {len(spaces)} "
                f"units that may be pruned here it cut {shared}, and at least half are needed. It "
                f"cut {', '.join(sorted(cut)[:3]) or 'nothing'}; here are "
                f"{', '.join(sorted(spaces)[:3])}. Name a run of the same or a similar model, "
                "or leave out --warm-start."
            )


@dataclass(frozen=True)
class WarmStart:
    """What a search takes from earlier runs.

    Args:
        runs: The earlier runs.
        paid: What they paid for, by its key; empty where it is no longer known.
    """

    runs: Sequence[EarlierRun] = ()
    paid: Sequence[tuple[EvaluationKey, Evaluation]] = ()

    @property
    def evaluations(self) -> int:
        """How many evaluations there are."""
        return sum(len(run.policies) for run in self.runs)

    def known(self, encoding: Encoding) -> list[Known]:
        """Return what each run found, in rows of this search."""
        return [run.known(encoding) for run in self.runs]

    def first(self, pool: Pool, seed: int) -> list[Params]:
        """Return what each run makes one expect most of, which this search proposes first."""
        rng, encoding = np.random.default_rng(seed), pool.encoding
        return [encoding.params(promising(pool, run, rng)) for run in self.known(encoding)]

    def keep(self, lodging: Lodging, model_fp: str, data_fp: str) -> None:
        """Keep all of it with the run, and what need not be paid again.

        Args:
            lodging: The run.
            model_fp: Fingerprint of the dense model.
            data_fp: Fingerprint of the data.
        """
        for key, found in self.paid:
            if (key.model_fp, key.data_fp) == (model_fp, data_fp):
                free = replace(found, sample_forwards=0.0, seconds=0.0)  # somebody else paid
                lodging.database.record_evaluation(None, key, free)
        runs = [
            {
                "folder": run.folder,
                "policies": [policy.to_dict() for policy in run.policies],
                "scores": list(run.scores),
            }
            for run in self.runs
        ]
        lodging.keep(WARM_START, {"runs": runs} if runs else {})

    @classmethod
    def of(cls, folders: Sequence[str], kept: Mapping[str, Any], own: Path) -> Self:
        """Return what the run kept, else read the folders of the earlier runs.

        Args:
            folders: Folders of earlier runs, absolute.
            kept: What the run kept; empty if it has not yet.
            own: The run's own folder.

        Raises:
            ConfigError: If a folder holds no run, or none that scored a policy.
        """
        if kept:
            return cls([_read(**run) for run in kept["runs"]])
        found = [_scored(Path(folder), own) for folder in folders]
        runs = [
            EarlierRun(
                folder,
                [e.policy for _, e in one],
                [e.score for _, e in one if e.score is not None],  # each has one
            )
            for folder, one in zip(folders, found, strict=True)
        ]
        return cls(runs, [pair for one in found for pair in one])


def _read(folder: str, policies: Sequence[Any], scores: Sequence[float]) -> EarlierRun:
    return EarlierRun(folder, [Policy.from_dict(policy) for policy in policies], scores)


def _scored(folder: Path, own: Path) -> list[tuple[EvaluationKey, Evaluation]]:
    """Return what the run in a folder scored to the end, with its keys."""
    advice = "Name the folder of an earlier search, or leave out --warm-start."
    if resolved(folder) == resolved(own):
        raise ConfigError(f"A search cannot be warm-started by itself: {folder}. {advice}")
    if not (folder / DATABASE).is_file():
        raise ConfigError(f"{folder} holds no run: there is no {DATABASE} in it. {advice}")
    with opened_to_read(folder / DATABASE) as database:
        run = database.find_run(STUDY)
        every = database.comparable(run.id, SCORED) if run else []
    found = [(key, e) for key, e in every if e.score is not None]  # releases before kept no score
    if not found:
        raise ConfigError(f"The run in {folder} scored no policy to the end. {advice}")
    return found
