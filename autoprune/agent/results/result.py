"""From the winner to the result that is written, returned and shown."""

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeVar

import onnxruntime
from torch import nn

from autoprune.agent.evaluating.finalist import undone
from autoprune.agent.housing.workspace import POLICY, RESULT
from autoprune.agent.latency.gate import Measurement
from autoprune.agent.preparing.prepare import Prepared
from autoprune.agent.request import Request
from autoprune.agent.results.verify import Winner, verify
from autoprune.artifacts.files import write_text
from autoprune.artifacts.goal import Goal
from autoprune.artifacts.result import (
    LatencyCheck,
    Measured,
    ProgressiveStep,
    Result,
    SearchCost,
    UnitChoice,
    UnitCut,
)
from autoprune.core.costs import LATENCY, Costs
from autoprune.core.policy import Policy
from autoprune.core.progress import Progress
from autoprune.core.progressive import Step
from autoprune.errors import CandidateError, DataError
from autoprune.evaluation.measuring.measure import measure
from autoprune.evaluation.randomness import isolated
from autoprune.storage.records import Evaluation
from autoprune.surgery.ids import Ids
from autoprune.tasks import Task

T = TypeVar("T")


@dataclass(frozen=True)
class SearchResult:
    """What a search returns.

    Args:
        folder: Where the result was written.
        result: The content of ``result.json``.
        policy: What was done to each unit.
        model: The pruned, fine-tuned model, in eval mode, on the CPU.
    """

    folder: Path
    result: Result
    policy: Policy
    model: nn.Module


def finish(
    request: Request,
    prepared: Prepared,
    model: nn.Module,
    winner: Evaluation,
    cost: SearchCost,
    measured: Mapping[str, Measurement],
    dense_tested: float | None = None,
    goal_of: Callable[[Measured, Measured], Goal] | None = None,
    steps: Iterable[Step] = (),
) -> SearchResult:
    """Verify the winner, measure it once on the test split, write everything.

    Args:
        request: The request.
        prepared: What the search started from.
        model: The winner's model, fine-tuned.
        winner: Its evaluation.
        cost: What the search cost.
        measured: Its latency by cost.
        dense_tested: The dense model's quality on the test split, if it is known.
        goal_of: Says, of the dense and the pruned model, whether what was asked for was reached;
            None where it was to be the best inside the budget.
        steps: Steps of the progressive run that led to it.

    Raises:
        VerificationError: If a check fails; nothing is written then.
    """
    task, device, dense = request.task, request.device, request.model.to(request.device)
    assert winner.quality is not None
    request.progress(Progress(stage="verify", done=0, total=1))
    with isolated(request.seed, task.loader("test")):
        if dense_tested is None:
            dense_tested = _tested(dense, task, device)
        tested = _tested(model, task, device)
    atoms = prepared.scorer.importance.removed(winner.policy)
    dense_costs = replace(
        prepared.projection.cost.dense,
        latency=_by_target({cost: one.dense_ms for cost, one in measured.items()}),
    )
    costs, checks = verify(
        Winner(
            dense=dense.cpu(),
            pruned=model.cpu(),
            plan=prepared.plan,
            atoms=atoms,
            inputs=prepared.inputs,
            constructor=request.constructor,
            latency=_by_target({cost: one.pruned_ms for cost, one in measured.items()}),
        ),
        request.budget,
        dense_costs,
        request.out,
        request.onnx,
    )
    before = _measured(prepared.dense_quality, dense_tested, dense_costs)
    after = _measured(winner.quality, tested, costs)
    result = Result(
        task=task.name,
        metric=task.metric_name,
        higher_is_better=task.higher_is_better,
        is_share=task.is_share,
        dense=before,
        pruned=after,
        policy={
            unit: UnitChoice(method=choice.method, sparsity=choice.sparsity)
            for unit, choice in winner.policy.items()
        },
        cuts=[*_cuts(prepared, winner.policy, atoms), *_zeroed(prepared, winner.policy, model)],
        budget=request.budget.to_dict(),
        search=cost,
        checks=checks.model_copy(update={"latency": _checked(measured)}),
        versions=_versions(request),
        uncounted=list(prepared.plan.uncounted),
        goal=goal_of and goal_of(before, after),
        steps=list(map(ProgressiveStep.of, steps)),
        undone=None if (trained := undone(winner)) is None else trained.quality,
    )
    write_text(request.out / POLICY, winner.policy.to_json() + "\n")
    write_text(request.out / RESULT, result.to_json())
    return SearchResult(request.out, result, winner.policy, model.eval())


def _tested(model: nn.Module, task: Task, device: str) -> float:
    try:
        return measure(model, task, "test", device).quality
    except CandidateError as err:
        raise DataError(
            f"{err} Look there for samples that are not finite. The search is kept: mend the "
            "split and resume."
        ) from err


def _measured(search: float, test: float, costs: Costs) -> Measured:
    return Measured(
        quality_search=search,
        quality_test=test,
        macs=costs.macs,
        params=costs.params,
        size_bytes=costs.size,
        memory_bytes=costs.memory,
        sparse_macs=costs.sparse_macs,
        sparse_size_bytes=costs.sparse_size,
        latency_ms=dict(costs.latency),
        parts=dict(costs.parts),
    )


def _by_target(latencies: Mapping[str, T]) -> dict[str, T]:
    return {cost.removeprefix(LATENCY): value for cost, value in latencies.items()}


def _checked(measured: Mapping[str, Measurement]) -> dict[str, LatencyCheck]:
    return {
        target: LatencyCheck(
            ratio=one.comparison.ratio,
            low=one.comparison.low,
            high=one.comparison.high,
            dense_ms=one.dense_ms,
            pruned_ms=one.pruned_ms,
            pairs=one.comparison.pairs,
            busy=one.comparison.busy,
        )
        for target, one in _by_target(measured).items()
    }


def _cuts(prepared: Prepared, policy: Policy, atoms: Mapping[str, Ids]) -> list[UnitCut]:
    return [
        UnitCut(
            unit=name,
            atoms=unit.atoms,
            kept=unit.atoms - len(atoms.get(name, ())),
            method=policy[name].method if name in policy else None,
            macs_saved=_saved(prepared, policy, name, "macs"),
        )
        for name, unit in prepared.plan.units.items()
    ]


def _zeroed(prepared: Prepared, policy: Policy, model: nn.Module) -> list[UnitCut]:
    """Return how many of the weights that cuts left are not zero: N:M may not fill a tensor."""
    left = dict(model.named_parameters())
    return [
        UnitCut(
            unit=name,
            atoms=sum(left[n].numel() for n in unit.members if n in left),
            kept=sum(int((left[n] != 0).sum()) for n in unit.members if n in left),
            method=policy[name].method,
            macs_saved=_saved(prepared, policy, name, "sparse_macs"),
        )
        for name, unit in prepared.plan.weights.items()
        if name in policy
    ]


def _saved(
    prepared: Prepared, policy: Policy, unit: str, cost: Literal["macs", "sparse_macs"]
) -> int:
    """Return what a policy would cost more if one unit alone were whole."""
    if unit not in policy:
        return 0
    whole = Policy({name: choice for name, choice in policy.items() if name != unit})
    before, after = (prepared.projection.costs_of(one) for one in (policy, whole))
    return int(getattr(after, cost) - getattr(before, cost))


def _versions(request: Request) -> dict[str, str]:
    """Return the versions of what made the result; onnxruntime's where it ran something."""
    packages = {name: version(name) for name in ("autoprune", "numpy", "onnx", "optuna", "torch")}
    if request.onnx or any(one.runtime == "onnxruntime" for one in request.budget.targets):
        packages["onnxruntime"] = onnxruntime.__version__
    return {"python": platform.python_version(), **dict(sorted(packages.items()))}
