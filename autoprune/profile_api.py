"""The public function that measures what each unit of a model gives up when it alone is cut."""

from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np
from torch import nn

from autoprune._given import database_of, runner_of, shown_by, space_of
from autoprune.agent.feasible.task_space import space_for
from autoprune.agent.housing.identity import data_fingerprint, dense_fingerprint
from autoprune.agent.latency.tables import allowed
from autoprune.agent.preparing.prepare import check_data, example_inputs, ranked
from autoprune.agent.sensitivity.profile import measure_sensitivity
from autoprune.core.fingerprint import check_seed
from autoprune.core.probing import Levels, Probing
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.evaluation.probing.sensitivity import Sensitivity
from autoprune.evaluation.randomness import isolated
from autoprune.execution.runners import SearchRunner
from autoprune.space.schema import SearchSpace
from autoprune.storage.shared import shared_database
from autoprune.surgery.accept import taken_out
from autoprune.surgery.discover import discover
from autoprune.surgery.tensors import copied
from autoprune.tasks import Task
from autoprune.tasks.base import SPLITS, check_task


def profile(
    model: nn.Module,
    *,
    task: Task,
    space: str | SearchSpace = "default",
    samples: int = Probing().samples,
    levels: Levels = "quick",
    workers: int | Literal["auto"] | None = None,
    seed: int = 0,
    recovery: Recovery | None = None,
    runner: str | SearchRunner = "local",
    database: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> Sensitivity:
    """Measure what each unit gives up when it alone is cut, by method and level, untrained.

    What the database knows of the model, the data and these settings is not measured again, by
    this function or by a search.

    Args:
        model: A trained model; it is left as it is.
        task: Data, loss and metric, for instance ``autoprune.Classification(loaders)``.
        space: A shipped search space, ``"file:PATH"``, or the object.
        samples: Samples of the search split that are measured, or all if it has fewer.
        levels: ``full`` probes every method at every level; ``quick`` every method at the middle
            level and the best of them at a few more.
        workers: Processes that probe; None for as many as the runner has room for.
        seed: Seed of the samples, and of methods that draw at random.
        recovery: Its ``calibration_batches`` say what atoms are ranked on.
        runner: A shipped runner, ``"file:PATH"``, or the object: where units are probed.
        database: URL or file of the database that runs share; None for ``$AUTOPRUNE_DATABASE``,
            else a file in your settings folder.
        progress: Called with every `Progress`; None shows a bar on standard error.

    Raises:
        InputError: If anything given cannot be used.
    """
    check_task(task)
    probing = Probing(samples=samples, levels=levels)
    check_seed(seed)
    found = space_for(task, space_of(space))
    place = runner_of(runner).with_workers("auto" if workers is None else workers)
    model = copied(taken_out(model)).cpu()
    loaders = (task.loader(split) for split in SPLITS)
    with (
        shown_by(progress) as told,
        place.applied() as at,
        isolated(seed, *loaders),
        closing(shared_database(database_of(database))) as opened,
    ):
        check_data(model, task)
        inputs = example_inputs(task)
        model_fp, data_fp = dense_fingerprint(model, inputs), data_fingerprint(task)
        told(Progress(stage="trace", done=0, total=1))
        plan = discover(model, inputs, np.random.default_rng(seed))
        spaces, cost = allowed(found, plan), CostModel(model, plan)
        told(Progress(stage="importance", done=0, total=1))
        methods, recovery = found.all_methods, recovery or Recovery()
        model = model.to(at.device)
        return measure_sensitivity(
            ranked(model, plan, cost, task, methods, recovery, seed, at.device),
            spaces,
            model_fp=model_fp,
            data_fp=data_fp,
            database=opened,
            probing=probing,
            hire=at.hire,
            progress=told,
        )
