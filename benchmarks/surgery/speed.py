"""Seconds to build a pruned model: ours from a plan, theirs by graph and step, in turn."""

import gc
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from torch import nn

from autoprune.methods import find_method
from autoprune.surgery.apply import apply
from autoprune.surgery.discover import discover, plan_of
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Plan
from autoprune.surgery.tensors import copied, state_tensors
from benchmarks.isolated import Note
from benchmarks.surgery.build import Inputs, build, inputs_of, smallest_inputs
from benchmarks.surgery.ours import SPARSITY, cut_everywhere
from benchmarks.surgery.torch_pruning import pruner_of
from benchmarks.surgery.zoo import Model


def measure(note: Note, model: Model, folder: str, repeats: int) -> None:
    """Note the median seconds of each way; the first round only warms up.

    ``apply_s`` builds from chosen atoms, ``ranked_s`` chooses them by L1 norms as well,
    ``trace_s`` traces and solves; ``theirs_s`` builds the graph and steps, which includes L1
    norms. Copying the dense model first, which theirs needs and ours does not, is not counted.
    """
    note(stage="build")
    dense, inputs = build(model), inputs_of(model, model.size, batch=1)
    note(stage="discover")
    plan = discover(dense, smallest_inputs(model, dense), np.random.default_rng(0))
    note(stage="time")
    atoms = cut_everywhere(plan)
    rounds = [_round(model, dense, plan, atoms, inputs, folder) for _ in range(1 + repeats)][1:]
    note(**{way: median(seconds[way] for seconds in rounds) for way in rounds[0]})
    note(repeats=repeats)


def _round(
    model: Model,
    dense: nn.Module,
    plan: Plan,
    atoms: dict[str, Ids],
    inputs: Inputs,
    folder: str,
) -> dict[str, float]:
    victim = copied(dense)

    def theirs() -> None:
        pruner_of(folder, model, victim, inputs, expert=True).step()

    return {
        "theirs_s": _seconds(theirs),
        "apply_s": _seconds(lambda: apply(dense, plan, atoms)),
        "trace_s": _seconds(lambda: plan_of(dense, inputs)),
        "ranked_s": _seconds(lambda: apply(dense, plan, _ranked(dense, plan))),
    }


def _ranked(dense: nn.Module, plan: Plan) -> dict[str, Ids]:
    """Return the 30% of every unit with the smallest L1 norm."""
    criterion, weights = find_method("channel.l1").criterion, state_tensors(dense)
    rng = np.random.default_rng(0)
    chosen = {}
    for name, unit in plan.of("channel", "head").items():
        order = criterion.score(unit, weights, {}, rng).argsort().numpy()
        chosen[name] = np.sort(order[: max(1, round(SPARSITY * unit.atoms))])
    return chosen


def _seconds(action: Callable[[], Any]) -> float:
    gc.collect()
    started = perf_counter()
    result = action()
    seconds = perf_counter() - started
    del result
    return seconds
