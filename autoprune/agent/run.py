"""One search, from the dense model to the verified result."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import optuna

from autoprune.agent.anchors import first_proposals
from autoprune.agent.encoding import Encoding
from autoprune.agent.evaluations import Evaluations
from autoprune.agent.finished import finished
from autoprune.agent.gate import Gate
from autoprune.agent.identity import data_fingerprint, dense_fingerprint
from autoprune.agent.inside import Inside
from autoprune.agent.loop import Loop
from autoprune.agent.outcomes import is_stopped
from autoprune.agent.prepare import (
    Prepared,
    check_constructor,
    check_data,
    example_inputs,
    prepare,
)
from autoprune.agent.request import Request
from autoprune.agent.result import SearchResult, finish
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.names import SAMPLERS, Start, make_sampler
from autoprune.agent.sensed import Sensed
from autoprune.agent.trials import reliability
from autoprune.agent.workspace import CONFIG, DATABASE, LATENCY, Workspace
from autoprune.artifacts.result import SearchCost
from autoprune.core.progress import Progress
from autoprune.cost.latency.runtimes import check_measurable
from autoprune.evaluation.randomness import isolated
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation
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
    SAMPLERS.get(request.sampler)
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
        prepared = prepare(request, workspace.kept(LATENCY))
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
            sampler = _sampler(request, prepared, sensed)
            with _study(workspace, sampler) as study:
                return _search(request, prepared, evaluations, study, sampler, sensed)


def kept_evaluations(folder: Path) -> int:
    """Return how many evaluations a run's folder holds; 0 if there is no run in it."""
    file = folder / DATABASE
    if not (file.is_file() and (folder / CONFIG).is_file()):
        return 0
    with closing(Database.open(sqlite_url(file))) as database:
        run = database.find_run(STUDY)
        return len(database.evaluations(run.id)) if run else 0


def _search(
    request: Request,
    prepared: Prepared,
    evaluations: Evaluations,
    study: optuna.Study,
    sampler: PolicySampler,
    sensed: Sensed,
) -> SearchResult:
    loop = Loop(
        study=study,
        sampler=sampler,
        evaluations=evaluations,
        trials=request.trials,
        timeout=request.timeout,
        progress=request.progress,
    )
    with Gate.open(prepared.pricing.latencies, request.budget) as gate:
        model, winner, finalists = Inside(gate, loop, evaluations).winner()
    spent: list[Evaluation | Sensed] = [*loop.scored.values(), *finalists, sensed]
    cost = SearchCost(
        evaluations=len(loop.scored),
        sample_forwards=prepared.sample_forwards + sum(e.sample_forwards for e in spent),
        seconds=sum(e.seconds for e in spent),
        seed=request.seed,
        sampler=request.sampler,
        sensitivity_forwards=sensed.sample_forwards,
        stopped=sum(map(is_stopped, loop.scored.values())),
        predictions=reliability(study),
    )
    measured = gate.seen.get(winner.policy.fingerprint, {})
    return finish(request, prepared, model, winner, cost, measured)


def _sampler(request: Request, prepared: Prepared, sensed: Sensed) -> PolicySampler:
    projection = prepared.projection
    errors = sensed.padded(Encoding(projection.spaces))
    first = first_proposals(prepared.plan, projection, errors)
    start = Start(projection=projection, seed=request.seed, anchors=first, errors=errors)
    return make_sampler(request.sampler, start)


@contextmanager
def _study(workspace: Workspace, sampler: PolicySampler) -> Iterator[optuna.Study]:
    study = open_study(sqlite_url(workspace.database), STUDY, sampler=sampler)
    try:
        release_unfinished(study)
        yield study
    finally:
        close_study(study)
