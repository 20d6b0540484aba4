"""Searches of autoprune: ours, and plain samplers and baselines over the same units and budget."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import autoprune
from autoprune.agent.preparing.prepare import ranked
from autoprune.core.recovery import Recovery
from autoprune.cost.model import CostModel
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.space.loader import load_space
from autoprune.space.schema import SearchSpace
from autoprune.surgery.discover import plan_of
from autoprune.tasks import Split
from benchmarks.peers.counting import counting
from benchmarks.peers.protocol import TARGET, Given, Pruned
from benchmarks.peers.subjects import SUBJECTS
from benchmarks.search.ablated import register

SPACE = "default"
UNIFORM = 3  # one for each method
PLAIN: dict[str, Any] = {
    "stages": (),
    "reconstruct": False,
    "score_by": "loss",
}  # without what is ours


def ours(given: Given) -> Pruned:
    """Search as `autoprune.search` does where nothing is set."""
    return _searched(given, "budgeted", given.evaluations)


def tpe(given: Given) -> Pruned:
    """Search by Optuna's TPE."""
    return _searched(given, "tpe", given.evaluations, **PLAIN)


def cmaes(given: Given) -> Pruned:
    """Search by Optuna's CMA-ES."""
    return _searched(given, "cmaes", given.evaluations, **PLAIN)


def drawn(given: Given) -> Pruned:
    """Draw as many policies within the limit at random, and take the best."""
    return _searched(given, "random", given.evaluations, **PLAIN)


def uniform(given: Given) -> Pruned:
    """Cut all units by one sparsity, by the best of three methods."""
    return _searched(given, "uniform", UNIFORM, **PLAIN)


def one_sparsity(given: Given) -> Pruned:
    """Do the same with reconstruction, and scored as ours is."""
    return _searched(given, "uniform", UNIFORM)


def one_method(given: Given) -> Pruned:
    """Search as ours does with L1 norms of channels alone: nothing else is cut."""
    return _searched(given, "budgeted", given.evaluations, methods=["channel.l1"])


def no_predictor(given: Given) -> Pruned:
    """Search as ours does, and score whatever is proposed."""
    return _searched(given, "no_predictor", given.evaluations)


def no_rollback(given: Given) -> Pruned:
    """Search as ours does, and take no decision back."""
    return _searched(given, "no_rollback", given.evaluations)


def no_divergence(given: Given) -> Pruned:
    """Search as ours does, by the loss."""
    return _searched(given, "budgeted", given.evaluations, score_by="loss")


def no_reconstruction(given: Given) -> Pruned:
    """Search as ours does where layers are left as they are cut: 80 training steps a score."""
    return _searched(given, "budgeted", given.evaluations, reconstruct=False)


def _searched(
    given: Given,
    sampler: str,
    trials: int,
    methods: Sequence[str] | None = None,
    **settings: Any,
) -> Pruned:
    register()
    recovery = Recovery(**(dict(SUBJECTS[given.subject].settings) | settings))
    space = load_space(SPACE)
    if methods is not None:
        space = space.model_copy(update={"methods": list(methods)})
    with TemporaryDirectory() as folder:
        found = autoprune.search(
            given.model,
            task=given.task,
            budget=_budget(given),
            space=space,
            trials=trials,
            seed=given.seed,
            out=Path(folder) / "run",
            recovery=recovery,
            onnx=False,
            database=str(Path(folder) / "shared.db"),
            sampler=sampler,
            progress=lambda event: None,
        )
    start = time.monotonic()
    with counting() as again:  # what the search did before it trained its finalists
        model = _scorer(given, space, recovery).candidate(found.policy, 0).model
    cost, test = found.result.search, _samples(given, "test")
    facts = {
        "evaluations": cost.evaluations,
        "stopped": cost.stopped,
        "own_forwards": cost.sample_forwards,
        "sensitivity_forwards": cost.sensitivity_forwards,
        "policy": found.policy.to_dict(),
    }
    tested = test * given.one_forward * (1 + given.share(found.model))
    aside, aside_s = tested + again.macs, time.monotonic() - start
    return Pruned(model=model, aside=aside, aside_s=aside_s, facts=facts)


def _samples(given: Given, split: Split) -> int:
    return sum(given.task.samples(batch) for batch in given.task.batches(split))


def _budget(given: Given) -> str:
    if given.latency is not None:
        return f"latency={100 * given.latency:g}%@{TARGET}"
    return f"macs={100 * given.macs:g}%"


def _scorer(given: Given, space: SearchSpace, recovery: Recovery) -> Scorer:
    """Return what cuts a policy out of the dense model, as the search did before any training."""
    plan = plan_of(given.model, given.inputs)
    cost = CostModel(given.model, plan)
    return ranked(
        given.model, plan, cost, given.task, space.all_methods, recovery, given.seed, "cpu"
    )
