"""What a run was asked, what came out and whether to trust it, in plain words."""

from collections.abc import Iterator
from dataclasses import dataclass

from autoprune.artifacts.front import Front
from autoprune.artifacts.result import Result
from autoprune.core.budget import Budget
from autoprune.core.costs import LATENCY
from autoprune.reporting.asked_limits import beside_front
from autoprune.reporting.cost_names import cost_name
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.goal import tolerance_of
from autoprune.reporting.text import count_text, share_text

_TOO_GOOD = 0.05  # of a share: what the smaller model gains beyond is hardly training
_GAP = 0.01  # of a share, by which the test split may be worse than the search split, untold
_FAILED = 0.1  # share of evaluations that may fail without a word


@dataclass(frozen=True, kw_only=True)
class Story:
    """A run in a few sentences.

    Args:
        asked: What was asked.
        came: What came out.
        trust: Why it can be trusted; empty where there is no result.
        cautions: What to keep in mind before it is used.
    """

    asked: str
    came: str
    trust: str
    cautions: tuple[str, ...]


def story_of(run: RunEvidence) -> Story:
    """Return the story of a run."""
    if run.told is None:
        came = f"{len(run.trials)} evaluations were begun. {' '.join(run.missing)}"
        return Story(asked=_asked(run), came=came, trust="", cautions=tuple(_of_search(run)))
    results = [run.result] if run.result else list(run.points.values())
    cautions = [*run.missing, *(text for one in results for text in cautions_of(one))]
    return Story(
        asked=_asked(run),
        came=_came(run.told),
        trust=_trust(results),
        cautions=tuple(dict.fromkeys([*cautions, *_of_search(run)])),
    )


def _asked(run: RunEvidence) -> str:
    limits = beside_front(run.settings).items()
    within = " and ".join(_limit(cost, str(limit)) for cost, limit in limits)
    if run.settings.get("pareto"):
        front = f"a front of {run.metric} against {run.settings['pareto']}"
        return f"Asked: models along {front}{f', with {within}' if within else ''}."
    if run.settings.get("tolerance"):
        aim = f"the {run.settings['tolerance']} of the dense model's {run.metric}"
        return f"Asked: {aim}, with {within}."
    return f"Asked: the best model with {within}."


def _limit(cost: str, limit: str) -> str:
    name = cost_name(cost)
    whose = "the dense model's " if limit.endswith("%") else ""
    return f"at most {limit} {'of ' if whose else ''}{whose}{name}"


def _came(told: Result | Front) -> str:
    if isinstance(told, Front):
        return _front_came(told)
    dense, pruned, yardstick = told.dense, told.pruned, told.yardstick
    qualities = (dense.quality_test, pruned.quality_test)
    before, after = map(yardstick.text, qualities)
    return (
        f"It came to a model with {share_text(pruned.macs, dense.macs)} of the multiply-adds and "
        f"{share_text(pruned.params, dense.params)} of the parameters. On the test split its "
        f"{told.metric} is {after}; that of the dense model is {before} "
        f"({yardstick.change(*qualities)}).{_latency(told)}"
    )


def _front_came(front: Front) -> str:
    text, points = front.yardstick.text, front.points
    several = len(points) > 1
    ends = [points[0], points[-1]] if several else points
    models = " to ".join(
        f"{text(one.pruned.quality_search)} at {share_text(one.share, 1.0)}" for one in ends
    )
    return (
        f"It came to {len(points)} model{'s' if several else ''}: on the search split "
        f"{front.metric} is {'from ' if several else ''}{models} of the dense model's "
        f"{cost_name(front.cost)}; the dense model has {text(front.dense.quality_search)}."
    )


def _latency(result: Result) -> str:
    return "".join(
        f" Measured on {target}, it takes {one.ratio:.1%} of the dense model's time "
        f"(95%: {one.low:.1%} to {one.high:.1%})."
        for target, one in result.checks.latency.items()
    )


def _trust(results: list[Result]) -> str:
    """Say what was checked, if all of it held."""
    if not results or not all(checks_passed(one) for one in results):
        return ""
    which = "Its" if len(results) == 1 else "Each one's"
    onnx = all(one.checks.onnx_max_diff is not None for one in results)
    files = "the reloaded and the ONNX file give" if onnx else "the reloaded file gives"
    return (
        f"{which} checks passed: the smaller model gives what the dense one gives with the same "
        f"parts zeroed, {files} the same outputs, the budget is met by the model itself, and the "
        "test split was measured once, after the choice."
    )


def checks_passed(result: Result) -> bool:
    """Tell whether a model is what it should be, and inside its budget."""
    return result.checks.sliced_equals_masked and result.checks.budget_met


def cautions_of(result: Result) -> Iterator[str]:
    """Yield what speaks against a result, or is not known of it."""
    checks = result.checks
    if not checks.sliced_equals_masked:
        yield "The sliced model differs from the masked one."
    if not checks.budget_met:
        yield "It is over the budget."
    if checks.onnx_max_diff is None:
        yield "It was not exported to ONNX, so nothing is known of it there."
    if result.uncounted:
        names = ", ".join(result.uncounted)
        yield f"MACs are a lower bound: nobody counts those of {names}."
    for target, one in checks.latency.items():
        if one.busy:
            yield f"The device did other work while {target} was measured: the interval is wide."
    yield from _undone(result)
    yield from _gains(result)
    yield from _drops(result)
    yield from _near(result)


def _undone(result: Result) -> Iterator[str]:
    """Tell of fine-tuning that did harm, and what to change."""
    if result.undone is not None:
        yardstick, kept = result.yardstick, result.pruned.quality_search
        yield (
            f"Fine-tuning lowered {yardstick.metric} on the search split from "
            f"{yardstick.text(kept)} to {yardstick.text(result.undone)}, so the model is kept as "
            "it was cut. Train more gently and search again: where autoprune trains, with a lower "
            "recovery.learning_rate, or with recovery.clip_norm set to 1."
        )


def _gains(result: Result) -> Iterator[str]:
    """Tell of a dense model that is so much worse that it was hardly given what it is used to."""
    yardstick, dense, pruned = result.yardstick, result.dense, result.pruned
    qualities = dense.quality_search, pruned.quality_search
    if yardstick.are_shares(*qualities) and qualities[1] - qualities[0] > _TOO_GOOD:
        yield (
            f"The smaller model is better than the dense one ({yardstick.metric} "
            f"{yardstick.text(qualities[0])} before): was the dense model trained on images that "
            "were prepared otherwise, or with its classes in another order?"
        )


def _drops(result: Result) -> Iterator[str]:
    """Tell of a test split that gives up more than was allowed, or than the search split does."""
    if result.goal is not None:
        tolerance = tolerance_of(result.goal, result.is_share)
        dropped = result.goal.drop_test
        if not tolerance.allows(dropped):
            yield (
                f"On the test split it drops by {tolerance.drop_text(dropped)}, more than the "
                f"{tolerance.text} that hold on the search split."
            )
        return
    dense, pruned, yardstick = result.dense, result.pruned, result.yardstick
    search = (dense.quality_search, pruned.quality_search)
    test = (dense.quality_test, pruned.quality_test)
    wider = (test[0] - test[1]) - (search[0] - search[1])
    # Of a metric that is no share nobody knows which gap is wide.
    if wider > _GAP and yardstick.are_shares(*search, *test):
        yield (
            f"On the test split {yardstick.metric} changes by {yardstick.change(*test)}, on the "
            f"search split, which candidates were chosen by, by {yardstick.change(*search)}."
        )


def _near(result: Result) -> Iterator[str]:
    """Tell of latencies whose interval reaches over the limit, though their median does not."""
    limits = Budget.parse(result.budget).limits
    for target, one in result.checks.latency.items():
        limit = limits.get(f"{LATENCY}{target}")
        if limit is not None and limit.relative and one.ratio <= limit.amount < one.high:
            yield f"The interval of the latency on {target} reaches over the limit of {limit}."


def _of_search(run: RunEvidence) -> Iterator[str]:
    failed = [one for one in run.trials if one.fate == "failed"]
    if failed and len(failed) > _FAILED * len(run.trials):
        share = count_text(len(failed))
        yield f"{share} of {len(run.trials)} evaluations failed, the last: {failed[-1].said}"
