"""Help a run that another process began: score its policies until nothing is left to do."""

import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from autoprune._hints import did_you_mean
from autoprune.agent.finalists.inside import aimed_before
from autoprune.agent.goals.members import helping
from autoprune.agent.housing.described import TIGHTENED
from autoprune.agent.housing.workspace import SENSITIVITY
from autoprune.agent.request import Request
from autoprune.agent.run import run as run_request
from autoprune.agent.session import Session
from autoprune.core.budget import Budget
from autoprune.core.pareto import Pareto, read_front_text
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.recover_function import RecoverFunction
from autoprune.core.recovery import Recovery
from autoprune.core.workers import Hire
from autoprune.errors import ConfigError, ElsewhereError
from autoprune.space.schema import SearchSpace
from autoprune.storage.database import Database, removed_run
from autoprune.storage.records import Run
from autoprune.storage.runs import Runs
from autoprune.storage.shared import shared_database
from autoprune.tasks import Task

_LOOK = 1.0  # seconds between two looks at whether the run is ready


def find_shared_run(
    name: str, database: str | None, patience: float, progress: ProgressCallback
) -> Run:
    """Return a run on a server, as soon as somebody has begun it.

    Args:
        name: Its name.
        database: URL of the server; None for what the environment names.
        patience: Seconds to wait until it is begun: a job starts all its agents at once.
        progress: Told that it waits.

    Raises:
        ConfigError: If there is none of that name by then, or the database is a file.
    """
    begun = time.monotonic()
    with closing(shared_database(database)) as shared:
        while (found := _find(shared, name)) is None:
            known = [run.name for run in Runs(shared).all()]
            missing = f"The database has no run {name!r}.{did_you_mean(name, known)}"
            if time.monotonic() - begun >= patience:
                raise ConfigError(
                    f"{missing} Waited {patience:g} s (--wait) for somebody to begin it."
                )
            progress(Progress(stage="wait", done=0, total=1, note=missing))
            time.sleep(min(_LOOK, patience))
    return found


def join_run(
    run: Run,
    model: nn.Module,
    task: Task,
    *,
    recover: RecoverFunction | None,
    database: str | None,
    runner: Mapping[str, Any],
    device: str,
    hire: Hire,
    patience: float,
    progress: ProgressCallback,
) -> int:
    """Score policies of a run, as one more agent, until nothing is left to be scored.

    Args:
        run: The run; its settings hold here.
        model: The same dense model as there.
        task: The same task.
        recover: The same function, if finalists are trained by one.
        database: URL of the server; None for what the environment names.
        runner: What is said of where this agent is, as in a `Request`.
        device: Where to compute.
        hire: Starts those who score policies.
        patience: Seconds to wait until the run is ready to be helped.
        progress: Told what happens.

    Returns:
        How many policies were scored by all agents by then.

    Raises:
        ConfigError: If the run cannot be helped.
        ElsewhereError: If it is not ready in time, or somebody removed it.
        RunExistsError: If model, data or function are others than the run's.
    """
    if run.config["tolerance"]:
        raise ConfigError(
            f"The run {run.name!r} goes from one limit to the next (--max-drop): one agent works "
            "on it. Give that one more workers."
        )
    with closing(shared_database(database)) as shared:
        _wait_until_ready(shared, run, patience, progress)
    with TemporaryDirectory(prefix="autoprune-") as folder:
        request = Request(
            model=model,
            task=task,
            out=Path(folder) / "agent",
            if_exists="resume",
            name=run.name,
            recover=recover,
            constructor=None,
            runner=runner,
            device=device,
            hire=hire,
            database=database,
            timeout=None,
            progress=progress,
            **_settings(run.config),
        )
        return run_request(request, _unknown, _help, finishes=False)


def _unknown(request: Request) -> int | None:
    return None


def _help(session: Session) -> int:
    loop = session.loop()
    if session.request.pareto is not None:
        return helping(session, loop).help()
    loop.trials = max(loop.trials, aimed_before(loop.study, loop.projection, TIGHTENED))
    return loop.help()


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a request says, of the settings that a run keeps."""
    front, points = None, 2
    if config["pareto"]:
        text, points = read_front_text(str(config["pareto"]))
        front = Pareto.parse(text)
    same = ("trials", "seed", "onnx", "sampler", "sensitivity", "rollback")
    return {
        **{name: config[name] for name in same},
        "budget": Budget.parse(config["budget"]),
        "space": SearchSpace.model_validate(config["space"]),
        "recovery": Recovery(**config["recovery"]),
        "pareto": front,
        "points": points,
        "warm_start": tuple(map(Path, config["warm_start"] or ())),
    }


def _find(shared: Database, name: str) -> Run | None:
    if not shared.is_server:
        raise ConfigError(
            "Agents on several machines share a database server, and here a file is named. Give "
            "--database postgresql+psycopg://USER@HOST/NAME or set AUTOPRUNE_DATABASE. On one "
            "machine 'autoprune search --workers N' does the same."
        )
    return shared.find_run(name)


def _wait_until_ready(
    shared: Database, run: Run, patience: float, progress: ProgressCallback
) -> None:
    """Wait for what is measured once and decides proposals."""
    begun = time.monotonic()
    while not _is_ready(shared.find_run(run.name)):
        if time.monotonic() - begun > patience:
            raise ElsewhereError(
                f"The run {run.name!r} was not ready within {patience:g} s: nobody measures its "
                "sensitivity table, or that takes longer. Wait longer with --wait."
            )
        note = "another agent measures what decides proposals"
        progress(Progress(stage="wait", done=0, total=1, note=note))
        time.sleep(_LOOK)


def _is_ready(run: Run | None) -> bool:
    if run is None:  # to go on would begin it anew, here
        raise removed_run()
    return SENSITIVITY in run.kept
