"""One search, from the dense model to the verified result."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import optuna

from autoprune.agent.evaluations import Evaluations
from autoprune.agent.finished import finished
from autoprune.agent.gate import Gate
from autoprune.agent.identity import data_fingerprint, dense_fingerprint
from autoprune.agent.inside import Inside
from autoprune.agent.prepare import (
    check_constructor,
    check_data,
    example_inputs,
    prepare,
)
from autoprune.agent.proposers import Proposers
from autoprune.agent.request import Request
from autoprune.agent.result import SearchResult, finish
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.names import SAMPLERS
from autoprune.agent.scoring import scored
from autoprune.agent.sensed import Sensed
from autoprune.agent.session import Session
from autoprune.agent.warm_start import WarmStart
from autoprune.agent.workspace import LATENCY, STUDY, Workspace, database_in
from autoprune.core.progress import Progress
from autoprune.cost.latency.runtimes import check_measurable
from autoprune.evaluation.randomness import isolated
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.read_only import opened_to_read
from autoprune.storage.study import close_study, open_study, release_unfinished
from autoprune.surgery.tensors import copied
from autoprune.tasks.base import SPLITS

T = TypeVar("T")
FINISHED = "the run was finished before: this is its result, and nothing was measured anew"


def run_search(request: Request) -> SearchResult:
    """Search, recover the best few, verify the winner, write it.

    Raises:
        InputError: If anything given cannot be used; see `autoprune.errors`.
        VerificationError: If the winner fails a check; nothing is written as a result then.
    """
    return run(request, finished, _search)


def run(
    request: Request, known: Callable[[Request], T | None], search: Callable[[Session], T]
) -> T:
    """Prepare a search and run it, or return what it came to before.

    Args:
        request: The request.
        known: Returns the result that a finished run left, None if there is more to do.
        search: Searches and writes the result.

    Raises:
        InputError: If anything given cannot be used; see `autoprune.errors`.
    """
    for target in request.budget.targets:
        check_measurable(target)  # before anything that takes long
    SAMPLERS.get(request.sampler)
    request = replace(request, model=copied(request.model).cpu())  # theirs stays where it is
    workspace = Workspace(request.out, request.if_exists)
    loaders = (request.task.loader(split) for split in SPLITS)
    with workspace.hold(), isolated(request.seed, *loaders):
        check_data(request.model, request.task)
        check_constructor(request.model, request.constructor)
        model_fp = dense_fingerprint(request.model, example_inputs(request.task))
        data_fp = data_fingerprint(request.task)
        config = workspace.completed(request.config(model_fp, data_fp))
        workspace.check(config)
        stored = known(request)
        if stored is not None:
            request.progress(Progress(stage="verify", done=1, total=1, note=FINISHED))
            return stored
        warm = WarmStart.of(config["warm_start"] or (), workspace)
        prepared = prepare(request, workspace.kept(LATENCY))
        for earlier in warm.runs:
            earlier.check(prepared.projection.spaces)
        workspace.start(config)
        workspace.keep(LATENCY, prepared.pricing.saved())
        fingerprints = {"model_fp": model_fp, "data_fp": data_fp}
        sensed = Sensed.of(request, prepared, workspace, **fingerprints)
        with closing(Database.open(sqlite_url(workspace.database))) as database:
            run = database.find_run(STUDY)
            evaluations = Evaluations(
                database=database,
                run_id=run.id if run else database.start_run(STUDY, config, **fingerprints),
                scorer=prepared.scorer,
                folder=workspace.folder,
                **fingerprints,
            )
            warm.keep(workspace, database, **fingerprints)
            proposers = Proposers(request, prepared, sensed, warm)
            sampler = proposers.first()
            costs = [request.traded] if request.traded else []
            work = partial(scored, prepared.scorer)
            with _study(workspace, sampler, costs) as study, request.hire(work) as workers:
                return search(Session(request, evaluations, study, sampler, proposers, workers))


def kept_evaluations(folder: Path) -> int:
    """Return how many evaluations a run's folder holds; 0 if there is no run in it."""
    file = database_in(folder)
    if file is None:
        return 0
    with opened_to_read(file) as database:
        run = database.find_run(STUDY)
        return len(database.evaluations(run.id)) if run else 0


def _search(session: Session) -> SearchResult:
    request, prepared, loop = session.request, session.prepared, session.loop()
    with Gate.open(prepared.pricing.latencies, request.budget) as gate:
        recover = session.recover(loop.projection)
        inside = Inside(gate, loop, session.evaluations, loop.trials, recover=recover)
        model, winner, finalists = inside.winner()
    measured = gate.seen.get(winner.policy.fingerprint, {})
    cost, steps = session.cost(loop, finalists), session.steps(winner)
    return finish(request, prepared, model, winner, cost, measured, steps=steps)


@contextmanager
def _study(
    workspace: Workspace, sampler: PolicySampler, costs: Sequence[str]
) -> Iterator[optuna.Study]:
    study = open_study(sqlite_url(workspace.database), STUDY, costs=costs, sampler=sampler)
    try:
        release_unfinished(study)
        yield study
    finally:
        close_study(study)
