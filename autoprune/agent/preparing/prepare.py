"""Everything a search needs before its first proposal, checked against each other."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.preparing.pricing import Pricing, priced
from autoprune.agent.preparing.splits import what_splits_lack
from autoprune.agent.request import Request
from autoprune.artifacts.architecture import Architecture
from autoprune.artifacts.constructor import Constructor
from autoprune.core.progress import Progress
from autoprune.core.recovery import FOR_FINALISTS, Recovery
from autoprune.cost.model import CostModel
from autoprune.errors import CandidateError, ConfigError, DataError, ModelError
from autoprune.evaluation.distillation.distill import check_teachable
from autoprune.evaluation.measuring.dense_outputs import check_forward, outputs_of
from autoprune.evaluation.measuring.measure import Measurement, measure, to_device
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.randomness import isolated
from autoprune.evaluation.scoring.candidate import TRAINING_FORWARDS
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.evaluation.training.precision import precision_of
from autoprune.methods import find_method
from autoprune.methods.regularised import penalty
from autoprune.surgery.discover import discover
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import Inputs, fresh
from autoprune.surgery.plan import Plan
from autoprune.surgery.units import Cut
from autoprune.tasks import Task, need_logits
from autoprune.tasks.base import SPLITS, yardstick_of
from autoprune.tasks.splits import check_separate, in_split

TRACED_SAMPLES = 2


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a search starts from.

    Args:
        plan: What surgery may do.
        inputs: Arguments of one forward of `TRACED_SAMPLES` samples, on the CPU.
        scorer: What scores a policy.
        pricing: What is feasible, and what latency is priced by.
        sample_forwards: What ranking the atoms cost, and the dense model's outputs where scores
            need them, in forwards of one sample.
        dense_quality: The dense model's metric on the search split.
    """

    plan: Plan
    inputs: Inputs
    scorer: Scorer
    pricing: Pricing
    sample_forwards: float
    dense_quality: float

    @property
    def projection(self) -> Projection:
        """What is feasible."""
        return self.pricing.projection


def prepare(request: Request, latency: Mapping[str, Any]) -> Prepared:
    """Trace, verify, price and rank.

    Args:
        request: The request.
        latency: What latency is priced by, as an earlier session saved it; empty if none did.

    Raises:
        InputError: If model, data, space and budget do not fit together.
    """
    for method in request.space.all_methods:
        find_method(method)
    check_trainable(request)
    if request.recovery.score_by == "kl":
        need_logits(request.task, "recovery.score_by 'kl'")
    check_recover(request)
    request.progress(Progress(stage="trace", done=0, total=1))
    inputs = example_inputs(request.task)
    check_teachable(request.model, request.task, inputs, request.recovery)
    rng = np.random.default_rng(request.seed)
    plan = discover(request.model, inputs, rng)
    pricing = priced(request, plan, inputs, latency)
    model = request.model.to(request.device)
    request.progress(Progress(stage="importance", done=0, total=1))
    measured = _measured(model, request)
    recovery = request.recovery
    if request.populate is not None:  # whose members all go the whole way
        recovery = replace(recovery, finalists=recovery.finalists_if(halved=False))
    scorer = ranked(
        model,
        plan,
        pricing.projection.cost,
        request.task,
        request.space.all_methods,
        recovery,
        request.seed,
        request.device,
    )
    outputs = request.task.forwards * measured.samples if scorer.score_by == "kl" else 0
    return Prepared(
        plan=plan,
        inputs=inputs,
        scorer=replace(scorer, recover=request.recover),
        pricing=pricing,
        dense_quality=measured.quality,
        sample_forwards=float(TRAINING_FORWARDS * scorer.importance.samples + outputs),
    )


def ranked(
    model: nn.Module,
    plan: Plan,
    cost: CostModel,
    task: Task,
    methods: Iterable[str],
    recovery: Recovery,
    seed: int,
    device: str,
) -> Scorer:
    """Rank the atoms of a dense model, which is on ``device``, and return what scores policies.

    Raises:
        ConfigError: If a method does not exist, or does not give finite numbers.
    """
    with isolated(seed, task.loader("train")):
        batches = recovery.calibration_batches
        importance = rank_atoms(model, plan, task, methods, batches, device, seed)
    return Scorer(model, plan, importance, cost, task, recovery, seed, device)


def check_trainable(request: Request) -> None:
    """Refuse a model that is to be trained and cannot be.

    Raises:
        ModelError: If every parameter is frozen.
    """
    recovery = request.recovery
    trains = recovery.steps_of_scores or (recovery.recover_steps and request.recover is None)
    shrinks = recovery.shrink_steps and any(map(penalty, request.space.all_methods))
    if not (trains or shrinks):
        return
    if not any(parameter.requires_grad for parameter in request.model.parameters()):
        raise ModelError(
            "Every parameter of the model is frozen (requires_grad=False), so nothing could be "
            "trained. Unfreeze them, or set recovery.score_steps, recovery.recover_steps and, for "
            "regularised methods, recovery.shrink_steps to 0."
        )


def check_recover(request: Request) -> None:
    """Refuse settings of a training that would not take place, or not on this device.

    Raises:
        ConfigError: If the device cannot do ``amp``, or the user's own function trains finalists
            and something is set that only ours does.
    """
    precision_of(request.recovery.amp, request.device)
    if request.recover is None:
        return
    usual = Recovery()
    own = replace(request.recovery, distill=request.recovery.distill or None)
    idle = [n for n in FOR_FINALISTS if getattr(own, n) != getattr(usual, n)]
    if idle:
        raise ConfigError(
            f"{request.recover.what}: {request.recover.name!r} trains the finalists, and "
            f"{', '.join(f'recovery.{name}' for name in idle)} would have no effect. Leave out "
            "one or the other."
        )


def _measured(model: nn.Module, request: Request) -> Measurement:
    try:
        with isolated(request.seed, request.task.loader("search")):
            found = measure(model, request.task, "search", request.device)
    except CandidateError as err:
        raise DataError(
            f"The dense model cannot be measured: {err} Check the checkpoint, and the search "
            "split for samples that are not finite."
        ) from err
    for warning in what_splits_lack(request.task, found, request.seed):
        warnings.warn(warning, stacklevel=2)
    quality = yardstick_of(request.task).text(found.quality)
    note = (
        f"dense model: {request.task.metric_name} {quality} on {found.samples:,} samples; if it "
        "had another quality in training, its images are prepared otherwise here"
    )
    request.progress(Progress(stage="importance", done=0, total=1, note=note))
    return found


def check_data(model: nn.Module, task: Task) -> None:
    """Run the model, on the CPU, on the first batch of each split; let the task judge its outputs.

    Raises:
        DataError: If a batch or the outputs do not have the form the task needs.
        ModelError: If the forward raises.
    """
    for split in SPLITS:
        batch = to_device(next(iter(task.batches(split))), "cpu")
        with evaluating(model), torch.no_grad():
            if not task.one_forward:
                check_forward(task, model, batch, split)
            outputs = outputs_of(task, model, batch, split, "the first")
        with in_split(split):
            task.check_outputs(outputs, batch)
    check_separate(task)


def check_constructor(model: nn.Module, constructor: Constructor | None) -> None:
    """Build the architecture once, so that a wrong constructor is told before the search.

    Raises:
        ModelError: If it cannot be built.
        ArtifactError: If it is another one than the model's.
    """
    if constructor is not None:
        Architecture.of(model, Cut(), None, "").cut(constructor.build())


def example_inputs(task: Task) -> Inputs:
    """Return forward arguments of the first few search samples, on the CPU.

    Raises:
        DataError: If the first batch is smaller than that.
    """
    inputs: Inputs = fresh(to_device(task.trace_inputs(TRACED_SAMPLES), "cpu"))
    return inputs
