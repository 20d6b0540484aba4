"""Searches of the tables that start from an earlier run: an honest one, or a misleading one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from optuna.trial import TrialState

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.loop.trials import ask
from autoprune.agent.proposing.warm_start import EarlierRun, WarmStart
from autoprune.agent.samplers.anchors import allocations
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.core.policy import Policy
from benchmarks.isolated import Note
from benchmarks.search.tabled import errors_of, gaps_of, needed_by, opened, study_of
from benchmarks.tables.network import Network
from benchmarks.tables.objective import TableObjective
from benchmarks.tables.recipes import RECIPES

Earlier = Literal["none", "same", "other_budget", "negated", "shuffled"]
TRIALS = 40  # of the earlier run
AFTER = (20, 40)  # evaluations after which the best is compared
WIDER = {"macs=25%": "macs=40%", "macs=40%": "macs=60%"}
_APART = 10_000  # seeds of earlier runs are those of the searches and so many more
Score = Callable[[Policy], float]


def search(note: Note, table: str, earlier: Earlier, seeds: int, trials: int, first: int) -> None:
    """Search a table with several seeds, each warm-started by an earlier run of its own.

    Args:
        note: Told the facts by seed: ``needed``, as for `tabled.search`, and ``gap_20`` and
            ``gap_40``, points below the best after so many evaluations.
        table: Name of the table.
        earlier: What the earlier run was: ``none``; one of the ``same`` table with another seed;
            one under a wider budget, whose policies are scored with the network; one of the same
            table whose scores are ``negated`` or ``shuffled``.
        seeds: How many seeds.
        trials: Evaluations of each search.
        first: The first seed.
    """
    objective = opened(table)
    wider = _wider(table, objective) if earlier == "other_budget" else None
    facts: dict[str, list[float | None]] = {"needed": [], **{f"gap_{at}": [] for at in AFTER}}
    for seed in range(first, first + seeds):
        warm = WarmStart([] if earlier == "none" else [_run(objective, wider, earlier, seed)])
        made = _sampler(objective, seed, warm)
        gaps = gaps_of(objective, study_of(made), made, trials)
        facts["needed"].append(needed_by(gaps))
        for at in AFTER:
            facts[f"gap_{at}"].append(gaps[at - 1])
        note(**facts)


def _sampler(
    objective: TableObjective, seed: int, warm: WarmStart, projection: Projection | None = None
) -> BudgetedSampler:
    errors, projection = errors_of(objective), projection or objective.projection
    sampler = BudgetedSampler(projection, seed, (), errors)
    anchors = allocations(objective.network.plan, projection, errors)
    first = [*warm.first(sampler.pool, seed), *anchors]
    known = warm.known(sampler.encoding)
    return BudgetedSampler(projection, seed, first, errors, earlier=known)


def _wider(table: str, objective: TableObjective) -> tuple[Projection, Score]:
    """Return what is feasible under a wider budget, and what scores it: the network itself."""
    recipe = RECIPES[table]
    network = Network.of(replace(recipe, budget=WIDER[recipe.budget]))
    network.model.load_state_dict(dict(objective.table.weights))
    scorer, steps = network.scorer(recipe.data()), recipe.recovery.steps_of_scores

    def score(policy: Policy) -> float:
        _, found = scorer.score(policy, steps)
        assert found.quality is not None
        return -found.quality

    return network.projection, score


def _run(
    objective: TableObjective, wider: tuple[Projection, Score] | None, kind: Earlier, seed: int
) -> EarlierRun:
    """Return an earlier run, its scores as misleading as is asked for."""
    projection, score = wider or (objective.projection, lambda one: -objective.score(one)[1])
    sampler = _sampler(objective, seed + _APART, WarmStart(), projection)
    policies, scores = _scored(sampler, score, lambda one: bool(wider) or one in objective)
    if kind == "negated":
        scores = [-one for one in scores]
    if kind == "shuffled":
        scores = list(np.random.default_rng(seed).permutation(scores))
    return EarlierRun(kind, policies, scores)


def _scored(
    sampler: BudgetedSampler, score: Score, has: Callable[[Policy], bool]
) -> tuple[list[Policy], list[float]]:
    study = study_of(sampler)
    found: dict[Policy, float] = {}
    for _ in range(TRIALS):
        trial, params = ask(study, sampler)
        policy = sampler.encoding.policy(sampler.encoding.row(params))
        if has(policy):
            found[policy] = score(policy)
            study.tell(trial, found[policy])
        else:  # it leaves slack: a table does not have it
            study.tell(trial, state=TrialState.FAIL)
    return list(found), list(found.values())
