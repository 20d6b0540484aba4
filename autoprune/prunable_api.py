"""The public function for people who run an Optuna study or Ray Tune themselves."""

from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
from torch import Tensor, nn

from autoprune._given import space_of
from autoprune.agent.feasible.parts import check_parts, evenly_zeroed, inside_parts, patterns_of
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.feasible.task_space import space_for
from autoprune.agent.latency.tables import allowed
from autoprune.agent.preparing.prepare import example_inputs
from autoprune.agent.prunable import Prunable
from autoprune.core.budget import Budget, BudgetLike
from autoprune.core.fingerprint import check_seed
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.errors import BudgetError, ConfigError
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.randomness import isolated
from autoprune.space.schema import SearchSpace, UnitSpace
from autoprune.surgery.accept import taken_out
from autoprune.surgery.discover import discover
from autoprune.surgery.nested import Inputs, arguments, map_tensors
from autoprune.surgery.tensors import copied
from autoprune.tasks import Task
from autoprune.tasks.base import check_task


def prunable(
    model: nn.Module,
    inputs: Inputs | Tensor | None = None,
    *,
    budget: BudgetLike,
    space: str | SearchSpace = "default",
    task: Task | None = None,
    seed: int = 0,
) -> Prunable:
    """Trace a model, verify its units, price them and rank their atoms, for a study of your own.

    What it returns makes samplers for any Optuna study or Ray Tune, turns the parameters of a
    trial into a policy, prices it, and cuts the model.

    Args:
        model: A trained model; it is left as it is.
        inputs: Arguments of one forward; one tensor alone may be given as it is. None takes the
            first samples of the task.
        budget: Upper limits, ``"macs=50%"`` or ``{"macs": "50%", "size": "1MB"}``; no latency.
        space: A shipped search space, ``"file:PATH"``, or the object.
        task: Data and loss, for methods that need gradients (``taylor``, ``fisher``). Without
            one they are left out of the space.
        seed: Seed of the random masks that units are verified with, and of methods that draw.

    Raises:
        InputError: If model, data, space and budget do not fit together.
    """
    check_seed(seed)
    limits, found = Budget.parse(budget), space_of(space)
    if limits.targets:
        raise BudgetError(
            f"A limit on latency ({limits}) must be measured again on what is found, which a "
            "study of your own does not do. Use autoprune.search, or limit macs, params, size or "
            "memory."
        )
    if task is not None:
        check_task(task)
    found = space_for(task, found)
    model = copied(taken_out(model)).cpu()
    example = _example(inputs, task)
    with nullcontext() if task is None else isolated(seed, task.loader("train")):
        plan = discover(model, example, np.random.default_rng(seed))
        spaces: Mapping[str, UnitSpace] = allowed(found, plan)
        cost = CostModel(model, plan, parts=limits.parts, patterns=patterns_of(spaces))
        check_parts(model, limits, cost.dense)
        spaces = evenly_zeroed(inside_parts(spaces, limits, plan, cost), limits, plan)
        projection = Projection(cost, spaces, limits)
        methods = {method for one in spaces.values() for method in one.methods}
        batches = Recovery().calibration_batches
        importance = rank_atoms(model, plan, task, methods, batches, "cpu", seed)
    return Prunable(model=model, plan=plan, projection=projection, importance=importance)


def _example(inputs: Inputs | Tensor | None, task: Task | None) -> Inputs:
    if inputs is None:
        if task is None:
            raise ConfigError(
                "prunable needs the inputs of one forward, or a task whose data has them. Give "
                "inputs=torch.randn(2, 3, 224, 224) in the shape that the model takes."
            )
        return example_inputs(task)
    found: Inputs = map_tensors(Tensor.cpu, arguments(inputs))
    return found
