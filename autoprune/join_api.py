"""The public function that helps a run which another process began."""

from typing import Literal

from torch import nn

from autoprune._given import runner_of, shown_by
from autoprune.agent.join import find_shared_run, join_run
from autoprune.core.numbers import check_at_least
from autoprune.core.progress import ProgressCallback
from autoprune.core.recover_function import RecoverFunction
from autoprune.execution.runners import SearchRunner
from autoprune.surgery.accept import taken_out
from autoprune.tasks import Task
from autoprune.tasks.base import check_task


def join(
    model: nn.Module,
    *,
    task: Task,
    run: str,
    database: str | None = None,
    recover: RecoverFunction | str | None = None,
    runner: str | SearchRunner = "local",
    workers: int | Literal["auto"] | None = None,
    wait: float = 600.0,
    progress: ProgressCallback | None = None,
) -> int:
    """Score policies of a run that `search` began on a database server, as one more agent.

    Agents on any number of machines take turns in proposing, and none scores what another one
    does. They may come and go. Whoever began the run fine-tunes the best and writes the result.

    Args:
        model: The same trained model as there; it is left as it is.
        task: The same task.
        run: Name of the run.
        database: URL of the server; None for ``$AUTOPRUNE_DATABASE``.
        recover: The same function as there, if one trains the finalists.
        runner: Where this agent scores, as for `search`.
        workers: Policies that it scores at a time, as for `search`.
        wait: Seconds to wait until the run is begun, and then until it is ready to be helped.
        progress: Called with every `Progress`; None shows a bar on standard error.

    Returns:
        How many policies all agents had scored when nothing was left.

    Raises:
        ConfigError: If there is no such run by then, or it cannot be helped.
        RunExistsError: If model, data or function are others than the run's.
        InfrastructureError: If the server cannot be reached any more, or workers are lost.
    """
    check_task(task)
    check_at_least("wait", wait, 0, int | float)
    place = runner_of(runner).with_workers(workers)
    with shown_by(progress) as told, place.applied() as at:
        return join_run(
            find_shared_run(run, database, wait, told),
            taken_out(model),
            task,
            recover=None if recover is None else RecoverFunction.of(recover),
            database=database,
            runner=place.told(runner),
            device=at.device,
            hire=at.hire,
            patience=wait,
            progress=told,
        )
