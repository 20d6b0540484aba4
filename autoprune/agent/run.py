"""One search, from the dense model to the verified result."""

import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.scoring import ScoreWork
from autoprune.agent.finalists.inside import Inside
from autoprune.agent.housing.described import describe
from autoprune.agent.housing.home import Home, Lodging
from autoprune.agent.housing.identity import data_fingerprint, dense_fingerprint
from autoprune.agent.housing.workspace import (
    CHECKS,
    LATENCY,
    SENSITIVITY,
    SOURCE,
    STUDY,
    WARM_START,
    Workspace,
    database_in,
)
from autoprune.agent.latency.gate import Gate
from autoprune.agent.preparing.precision import check_precision
from autoprune.agent.preparing.prepare import (
    Prepared,
    check_constructor,
    check_data,
    example_inputs,
    prepare,
)
from autoprune.agent.proposing.proposers import Proposers
from autoprune.agent.proposing.warm_start import WarmStart
from autoprune.agent.request import Request
from autoprune.agent.results.finished import finished
from autoprune.agent.results.result import SearchResult, finish
from autoprune.agent.samplers.names import check_rollback
from autoprune.agent.sensitivity.sensed import Sensed
from autoprune.agent.session import Session
from autoprune.core.fingerprint import fingerprint
from autoprune.core.paths import resolved
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.yardstick import YARDSTICK
from autoprune.cost.latency.runtimes import check_measurable
from autoprune.errors import ArtifactError, AutopruneError, RunExistsError
from autoprune.evaluation.randomness import isolated
from autoprune.storage.ended import count_ended
from autoprune.storage.read_only import opened_to_read
from autoprune.storage.shared import shared_database
from autoprune.surgery.tensors import copied
from autoprune.tasks.base import SPLITS, yardstick_of

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
    request: Request,
    known: Callable[[Request], T | None],
    search: Callable[[Session], T],
    *,
    finishes: bool = True,
) -> T:
    """Prepare a search and run it, or return what it came to before.

    Args:
        request: The request.
        known: Returns the result that a finished run left, None if there is more to do.
        search: Searches and writes the result.
        finishes: Whether the run has come to its end then.

    Raises:
        InputError: If anything given cannot be used; see `autoprune.errors`.
    """
    for target in request.budget.targets:
        check_measurable(target)  # before anything that takes long
    check_rollback(request.sampler, request.rollback)
    request = replace(request, model=copied(request.model).cpu())  # theirs stays where it is
    workspace = Workspace(request.out, request.if_exists)
    loaders = (request.task.loader(split) for split in SPLITS)
    with (
        workspace.hold(),
        closing(shared_database(request.database)) as shared,
        isolated(request.seed, *loaders),
    ):
        check_precision(request.model, request.task)
        check_data(request.model, request.task)
        check_constructor(request.model, request.constructor)
        fingerprints = {
            "model_fp": dense_fingerprint(request.model, example_inputs(request.task)),
            "data_fp": data_fingerprint(request.task),
        }
        home = Home(
            shared=shared,
            workspace=workspace,
            name=request.name or resolved(request.out).name,
            if_exists=request.if_exists,
        )
        config = home.completed(request.config(*fingerprints.values()))
        home.check(config)
        stored = known(request)
        if stored is not None:
            request.progress(Progress(stage="verify", done=1, total=1, note=FINISHED))
            return stored
        return _searched(request, home, config, fingerprints, search, finishes)


def _searched(
    request: Request,
    home: Home,
    config: Mapping[str, Any],
    fingerprints: Mapping[str, str],
    search: Callable[[Session], T],
    finishes: bool,
) -> T:
    """Prepare a search whose settings were checked, and run it."""
    kept = home.kept()
    warm = WarmStart.of(
        config["warm_start"] or (), kept.get(WARM_START, {}), home.workspace.folder
    )
    prepared = prepare(request, kept.get(LATENCY, {}))
    for earlier in warm.runs:
        earlier.check(prepared.projection.spaces)
    with home.entered(config, finishes=finishes, **fingerprints) as lodging:
        checks = _Since("verify", lodging.presence.noting(request.progress))
        request = replace(request, progress=checks)
        lodging.keep(SOURCE, {"path": str(request.source)} if request.source else {})
        lodging.keep_session(request.session | {"joined": not finishes})
        dense = prepared.projection.cost.dense
        lodging.keep(YARDSTICK, yardstick_of(request.task, dense.macs).to_dict())
        saved = prepared.pricing.saved()
        stored = lodging.keep(LATENCY, saved)
        if not kept.get(LATENCY) and fingerprint(stored) != fingerprint(saved):
            raise RunExistsError(
                "Another process began this run meanwhile, with latencies of its own. Give the "
                "same command again to help it."
            )
        warm.keep(lodging, **fingerprints)  # before the table, which tells that all is ready
        sensed = Sensed.of(request, prepared, kept.get(SENSITIVITY, {}), lodging, **fingerprints)
        proposers = Proposers(request, prepared, sensed, warm)
        sampler = proposers.first()
        costs = [request.traded] if request.traded else []
        work = ScoreWork(prepared.scorer)
        with lodging.opened(sampler, costs) as study, request.hire(work) as workers:
            describe(study, prepared.projection)
            found = search(
                Session(
                    request=request,
                    evaluations=_evaluations(home, lodging, prepared, fingerprints),
                    study=study,
                    sampler=sampler,
                    proposers=proposers,
                    workers=workers,
                    company=lodging.company,
                )
            )
        if checks.began is not None:
            lodging.keep(CHECKS, {"seconds": monotonic() - checks.began})
        if finishes:
            folder = str(resolved(request.out))
            lodging.finish({"folder": folder, "host": socket.gethostname()})
        return found


class _Since:
    """Passes progress on, and knows when a stage began: no other one comes after the last.

    Args:
        stage: The stage.
        told: Who is told.
    """

    def __init__(self, stage: str, told: ProgressCallback) -> None:
        self._stage, self._told = stage, told
        self.began: float | None = None

    def __call__(self, event: Progress) -> None:
        """Pass an event on."""
        if event.stage == self._stage and self.began is None:
            self.began = monotonic()
        self._told(event)


def _evaluations(
    home: Home, lodging: Lodging, prepared: Prepared, fingerprints: Mapping[str, str]
) -> Evaluations:
    return Evaluations(
        database=lodging.database,
        run_id=lodging.run_id,
        scorer=prepared.scorer,
        folder=home.workspace.folder,
        shared=None if lodging.shared is lodging.database else lodging.shared,
        model_fp=fingerprints["model_fp"],
        data_fp=fingerprints["data_fp"],
    )


def kept_evaluations(folder: Path) -> int:
    """Return how many evaluations of a run's folder came to their end; 0 if no run is in it."""
    file = database_in(folder)
    if file is None:
        return 0
    try:
        with opened_to_read(file) as database:
            return count_ended(database, STUDY)
    except ArtifactError:  # it was made just now, and has no tables yet
        return 0


def kept_on_server(name: str, database: str | None) -> int | None:
    """Return how many evaluations of a run on a server ended; None if it cannot be reached.

    Args:
        name: Name of the run.
        database: URL of the server; None for what the environment names.
    """
    try:
        with closing(shared_database(database)) as shared:
            return count_ended(shared, name)
    except AutopruneError:
        return None


def _search(session: Session) -> SearchResult:
    request, prepared, loop = session.request, session.prepared, session.loop()
    with Gate.open(prepared.pricing.latencies, request.budget) as gate:
        recover = session.recover(loop.projection)
        inside = Inside(gate, loop, session.evaluations, loop.trials, recover=recover)
        model, winner = inside.winner()
    measured = gate.seen.get(winner.policy.fingerprint, {})
    cost, steps = session.cost(loop), session.steps(winner)
    return finish(request, prepared, model, winner, cost, measured, steps=steps)
