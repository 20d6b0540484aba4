"""Searches whose evaluations are look-ups in exhaustive tables: many seeds, no network runs."""

import logging
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.trial import TrialState

from autoprune.agent.feasible.encoding import Encoding
from autoprune.agent.loop.trials import ask
from autoprune.agent.samplers.anchors import first_proposals
from autoprune.agent.samplers.attributes import EXAMINES, REGRET
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.names import SAMPLERS, Start, make_sampler
from autoprune.agent.samplers.pool import padded
from autoprune.core.arrays import Floats
from benchmarks.isolated import Note
from benchmarks.search.ablated import register
from benchmarks.tables.objective import TableObjective

CLOSE = 0.2  # points below the best that count as found


def search(
    note: Note,
    table: str,
    sampler: str,
    seeds: int,
    trials: int,
    first: int,
    sensitivity: bool = True,
) -> None:
    """Search a table with several seeds.

    Args:
        note: Told the facts: ``needed``, evaluations by seed until a policy within 0.2 points of
            the best quality was found (null: never), and ``gap``, points below it in the end.
            Both as the table's first seed has it, for that is what is searched: a second seed
            agrees no better than the table's noise.
        table: Name of the table.
        sampler: Name of the sampler.
        seeds: How many seeds.
        trials: Evaluations of each search.
        first: The first seed.
        sensitivity: Whether it is known what each unit gives up.
    """
    objective = opened(table)
    used = sensitivity and SAMPLERS.get(sampler).uses_errors
    errors = errors_of(objective) if used else None
    needed: list[int | None] = []
    gaps: list[float] = []
    for seed in range(first, first + seeds):
        made = sampler_of(objective, sampler, seed, errors)
        gap = gaps_of(objective, study_of(made), made, trials)
        needed.append(needed_by(gap))
        gaps.append(gap[-1])
        note(needed=needed, gap=gaps, probes=len(objective.table.single))


def opened(table: str) -> TableObjective:
    """Return a table to be searched; Optuna is quiet, and samplers without a part are known."""
    logging.getLogger("optuna").setLevel(logging.WARNING)
    register()
    return TableObjective.load(table)


def study_of(sampler: PolicySampler) -> optuna.Study:
    """Return an empty study in memory."""
    return optuna.create_study(sampler=sampler, pruner=optuna.pruners.NopPruner())


def needed_by(gaps: Sequence[float]) -> int | None:
    """Return how many evaluations it took until a gap was close enough to count as found."""
    close = np.flatnonzero(np.array(gaps) <= CLOSE)
    return int(close[0]) + 1 if len(close) else None


def gaps_of(
    objective: TableObjective, study: optuna.Study, sampler: PolicySampler, trials: int
) -> list[float]:
    """Return by how many points the best policy is below the best, after each trial."""
    best, lowest, gaps = np.inf, np.inf, list[float]()
    tried = set[bytes]()
    while len(gaps) < trials:
        trial, params = ask(study, sampler)
        row = sampler.encoding.row(params)
        if row.tobytes() in tried:
            study.tell(trial, state=TrialState.FAIL)
            return gaps + gaps[-1:] * (trials - len(gaps))
        tried.add(row.tobytes())
        policy = sampler.encoding.policy(row)
        if policy not in objective:  # it leaves slack: all beside it were tried
            study.tell(trial, state=TrialState.FAIL)
            gaps += gaps[-1:]
            continue
        _, quality = objective.score(policy)
        if EXAMINES in trial.user_attrs:
            trial.set_user_attr(REGRET, {"reverted": -quality < lowest})
        lowest = min(lowest, -quality)
        study.tell(trial, -quality)
        best = min(best, objective.gap_points(policy, seen=True))
        gaps.append(best)
    return gaps


def sampler_of(
    objective: TableObjective, name: str, seed: int, errors: Floats | None
) -> PolicySampler:
    """Return a sampler as a search of the table would have it."""
    projection, plan = objective.projection, objective.network.plan
    first = first_proposals(plan, projection, errors)
    return make_sampler(
        name, Start(projection=projection, seed=seed, anchors=first, errors=errors)
    )


def errors_of(objective: TableObjective) -> Floats:
    """Return the sensitivity table that was made with the table: untrained, never falling."""
    encoding, table = Encoding(objective.spaces), objective.table
    dense = float(table.facts["dense"]["loss"][0])
    errors = {
        unit: {method: np.zeros(space.levels) for method in space.methods}
        for unit, space in encoding.spaces.items()
    }
    units = list(encoding.spaces)
    for (number, level, code), losses in zip(table.single, table.single_loss, strict=True):
        space = encoding.spaces[units[number]]
        errors[units[number]][space.methods[code]][level] = losses[0] - dense
    for own in errors.values():
        for method, given_up in own.items():
            own[method] = np.maximum.accumulate(np.maximum(given_up, 0.0))
    return padded(encoding, errors)
