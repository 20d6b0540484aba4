"""One search, from the dense model to the verified result."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import optuna

from autoprune.agent.anchors import anchors
from autoprune.agent.evaluations import Evaluations
from autoprune.agent.finished import finished
from autoprune.agent.gate import Gate
from autoprune.agent.identity import data_fingerprint, dense_fingerprint
from autoprune.agent.inside import Inside
from autoprune.agent.loop import Loop
from autoprune.agent.prepare import (
    Prepared,
    check_constructor,
    check_data,
    example_inputs,
    prepare,
)
from autoprune.agent.request import Request
from autoprune.agent.result import SearchResult, finish
from autoprune.agent.sampler import ProjectedSampler
from autoprune.agent.workspace import CONFIG, DATABASE, Workspace
from autoprune.artifacts.result import SearchCost
from autoprune.core.progress import Progress
from autoprune.cost.latency.runtimes import check_measurable
from autoprune.evaluation.randomness import isolated
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.study import close_study, open_study, release_unfinished
from autoprune.surgery.tensors import copied
from autoprune.tasks.base import SPLITS

STUDY = "autoprune"
FINISHED = "the run was finished before: this is its result, and nothing was measured anew"


def run_search(request: Request) -> SearchResult:
    """Search, recover the best few, verify the winner, write it.

    Raises:
        InputError: If anything given cannot be used; see `autoprune.errors`.
        VerificationError: If the winner fails a check; nothing is written as a result then.
    """
    for target in request.budget.targets:
        check_measurable(target)  # before anything that takes long
    request = replace(request, model=copied(request.model).cpu())  # theirs stays where it is
    workspace = Workspace(request.out, request.if_exists)
    loaders = (request.task.loader(split) for split in SPLITS)
    with workspace.hold(), isolated(request.seed, *loaders):
        check_data(request.model, request.task)
        check_constructor(request.model, request.constructor)
        model_fp = dense_fingerprint(request.model, example_inputs(request.task))
        data_fp = data_fingerprint(request.task)
        config = request.config(model_fp, data_fp)
        workspace.check(config)
        stored = finished(request)
        if stored is not None:
            request.progress(Progress(stage="verify", done=1, total=1, note=FINISHED))
            return stored
        prepared = prepare(request, workspace.latency())
        workspace.start(config)
        workspace.keep_latency(prepared.pricing.saved())
        with closing(Database.open(sqlite_url(workspace.database))) as database:
            run = database.find_run(STUDY)
            evaluations = Evaluations(
                database=database,
                run_id=run.id if run else database.start_run(STUDY, config, model_fp, data_fp),
                scorer=prepared.scorer,
                model_fp=model_fp,
                data_fp=data_fp,
                folder=workspace.folder,
            )
            with _study(workspace, request, prepared) as study:
                return _search(request, prepared, evaluations, study)


def kept_evaluations(folder: Path) -> int:
    """Return how many evaluations a run's folder holds; 0 if there is no run in it."""
    file = folder / DATABASE
    if not (file.is_file() and (folder / CONFIG).is_file()):
        return 0
    with closing(Database.open(sqlite_url(file))) as database:
        run = database.find_run(STUDY)
        return len(database.evaluations(run.id)) if run else 0


def _search(
    request: Request, prepared: Prepared, evaluations: Evaluations, study: optuna.Study
) -> SearchResult:
    loop = Loop(
        study=study,
        evaluations=evaluations,
        projection=prepared.projection,
        trials=request.trials,
        timeout=request.timeout,
        progress=request.progress,
    )
    with Gate.open(prepared.pricing.latencies, request.budget) as gate:
        model, winner, finalists = Inside(gate, loop, evaluations).winner()
    spent = [*loop.scored.values(), *finalists]
    cost = SearchCost(
        evaluations=len(loop.scored),
        sample_forwards=prepared.sample_forwards + sum(e.sample_forwards for e in spent),
        seconds=sum(e.seconds for e in spent),
        seed=request.seed,
    )
    measured = gate.seen.get(winner.policy.fingerprint, {})
    return finish(request, prepared, model, winner, cost, measured)


@contextmanager
def _study(workspace: Workspace, request: Request, prepared: Prepared) -> Iterator[optuna.Study]:
    first = anchors(prepared.plan, prepared.projection.spaces)
    sampler = ProjectedSampler(prepared.projection, request.seed, first)
    study = open_study(sqlite_url(workspace.database), STUDY, sampler=sampler)
    try:
        release_unfinished(study)
        yield study
    finally:
        close_study(study)
