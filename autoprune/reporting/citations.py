"""The papers behind what a run used: methods and samplers name theirs, others stand here."""

from collections.abc import Iterator, Mapping
from typing import Any

from autoprune.agent.samplers.names import SAMPLERS
from autoprune.core.recovery import Recovery
from autoprune.errors import ConfigError
from autoprune.methods import find_method
from autoprune.reporting.evidence import RunEvidence

OPTUNA = (
    "Akiba et al. 2019, Optuna: A Next-generation Hyperparameter Optimization Framework, "
    "arXiv:1907.10902."
)
RECALIBRATION = (
    "Li et al. 2020, EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning, "
    "arXiv:2007.02491."
)
RECONSTRUCTION = (
    "He et al. 2017, Channel Pruning for Accelerating Very Deep Neural Networks, "
    "arXiv:1707.06168; ours fits all layers in one forward, with a ridge."
)
TRAINED = "Ours also trains for {steps} steps before it scores."
PREDICTIONS = (
    "Dawid 1984, Statistical Theory: The Prequential Approach, doi:10.2307/2981683, for judging "
    "predictions made before the scores; Gibbs and Candès 2021, Adaptive Conformal Inference "
    "Under Distribution Shift, arXiv:2106.00170, for intervals that keep their coverage; ours "
    "adapts widths, not levels."
)
HALVING = (
    "Jamieson and Talwalkar 2016, Non-stochastic Best Arm Identification and Hyperparameter "
    "Optimization, arXiv:1502.07943."
)
DISTILLATION = (
    "Hinton et al. 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531."
)
ATTENTION = "Zagoruyko and Komodakis 2017, Paying More Attention to Attention, arXiv:1612.03928."
ONE_CYCLE = "Smith and Topin 2017, Super-Convergence, arXiv:1708.07120."
SPACINGS = {
    "cubic": "Zhu and Gupta 2017, To Prune, or Not to Prune, arXiv:1710.01878.",
    "exponential": (
        "de Jorge et al. 2020, Progressive Skeletonization: Trimming More Fat from a Network at "
        "Initialization, arXiv:2006.09081, for the schedule; Shen et al. 2021, HALP: "
        "Hardware-Aware Latency Pruning, arXiv:2110.10811, for what falls being a cost."
    ),
}
PATTERNS = "Mishra et al. 2021, Accelerating Sparse Deep Neural Networks, arXiv:2104.08378."


def cited(run: RunEvidence) -> list[tuple[str, str]]:
    """Return what a run used and the paper behind it, each paper once."""
    found: dict[str, list[str]] = {}
    for what, paper in _used(run):
        names = found.setdefault(paper, [])
        if what not in names:
            names.append(what)
    return [(", ".join(names), paper) for paper, names in found.items()]


def _used(run: RunEvidence) -> Iterator[tuple[str, str]]:
    """Yield what was used and its paper, the methods of the result first."""
    for method in sorted(_methods(run)):
        try:
            found = find_method(method)
        except ConfigError as err:  # of a package that is not here
            yield method, f"Its paper is not known here: {err}"
            continue
        yield method, found.criterion.paper
        if found.structure.pattern:
            yield method, PATTERNS
    sampler = str(run.settings.get("sampler", ""))
    try:
        paper = SAMPLERS.get(sampler).paper
    except ConfigError as err:
        paper = f"Its paper is not known here: {err}"
    if paper:
        yield f"sampler {sampler}", paper
    if any(one.prediction for one in run.trials):
        yield "predictions", PREDICTIONS
    yield from _recovery(run.settings.get("recovery") or {}, run.settings)
    yield "study", OPTUNA


def _methods(run: RunEvidence) -> set[str]:
    results = [*run.points.values(), *([run.result] if run.result else [])]
    return {choice.method for one in results for choice in one.policy.values()}


def _recovery(settings: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    usual = Recovery(
        score_steps=settings.get("score_steps"),
        reconstruct=bool(settings.get("reconstruct")),  # runs from before it was there do not say
    )
    if settings.get("calibration_batches", usual.calibration_batches):
        steps = usual.steps_of_scores
        trained = f" {TRAINED.format(steps=steps)}" if steps else ""
        yield "scoring", f"{RECALIBRATION}{trained}"
        if usual.reconstruct:
            yield "reconstruction", RECONSTRUCTION
    if settings.get("schedule") == "progressive":
        spacing = str(settings.get("prune_spacing"))
        if spacing in SPACINGS:
            yield f"progressive cuts, {spacing}", SPACINGS[spacing]
    elif settings.get("finalists", 1) != 1 and not run.get("recover"):
        yield "finalists", HALVING
    taught = settings.get("distill", 0.0)
    if taught is None:  # automatic
        known = run.get("task") == "classification" and "class" not in run.get("task_identity", {})
        taught = known and settings.get("recover_steps") and not run.get("recover")
    if taught:
        yield "distillation", DISTILLATION
    if settings.get("distill_features"):
        yield "distillation of features", ATTENTION
    if settings.get("rate_schedule") == "one-cycle":
        yield "learning rate", ONE_CYCLE
