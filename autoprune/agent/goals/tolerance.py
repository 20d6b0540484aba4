"""One search for the smallest model within a drop of quality: from the request to the result."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from autoprune.agent.evaluating.finalist import run_of
from autoprune.agent.goals.attempts import Attempt
from autoprune.agent.goals.descent import Descent
from autoprune.agent.goals.drop import drop_error
from autoprune.agent.latency.gate import Gate
from autoprune.agent.request import Request
from autoprune.agent.results.finished import finished
from autoprune.agent.results.result import SearchResult, finish
from autoprune.agent.run import run
from autoprune.agent.samplers.names import check_along_fronts
from autoprune.agent.session import Session
from autoprune.artifacts.goal import Ended, Goal, LimitTried
from autoprune.artifacts.result import Measured
from autoprune.core.limit import limit_text
from autoprune.core.tolerance import Tolerance
from autoprune.errors import BudgetError, ConfigError


def run_tolerance(request: Request) -> SearchResult:
    """Search at one limit after the other, verify the smallest model within the drop, write it.

    Raises:
        InputError: If anything given cannot be used, or nothing within the drop was found.
        VerificationError: If the winner fails a check; nothing is written as a result then.
    """
    check_along_fronts(request.sampler)
    return run(request, finished, _search)


def _check_drop(session: Session, tolerance: Tolerance) -> None:
    """Refuse a drop that any model is within: one in points, of a metric that is no share.

    Raises:
        ConfigError: If it is so.
    """
    task, dense = session.request.task, session.prepared.dense_quality
    if tolerance.allows_all(dense):
        raise ConfigError(
            f"max_drop {tolerance.text} lets any model pass: it is in the unit of "
            f"{task.metric_name}, which is {dense:.4g} for the dense model. Give less, or say "
            "is_share: true in the task if it is a share in [0, 1]; then max_drop is in points."
        )


def _search(session: Session) -> SearchResult:
    request, tolerance = session.request, session.request.tolerance
    assert tolerance is not None
    _check_drop(session, tolerance)
    session.company.finish()  # its limits follow from each other: one agent works on them
    with Gate.open(session.prepared.pricing.latencies, request.budget) as gate:
        descent = Descent(session, tolerance, session.loop(), gate)
        ended = descent.run()
    best = descent.smallest
    if best is None:
        raise _nothing_within(descent, tolerance, ended)
    return _finish(descent, best, ended)


def _finish(descent: Descent, best: Attempt, ended: Ended) -> SearchResult:
    """Verify the smallest model within the drop, measure it on the test split, write it."""
    session, found = descent.session, best.found
    assert found is not None
    budget = descent.budget(best.limit)
    model, winner = session.evaluations.finalist(found.policy, run_of(found.weights)).finish()
    goal_of = partial(_goal, descent, drop_error(session.evaluations.scorer, model), ended)
    return finish(
        replace(session.request, budget=budget),
        session.prepared,
        model,
        winner,
        session.cost(descent.loop),
        found.measurements(budget.limits),
        goal_of=goal_of,
        steps=session.steps(winner),
    )


def _goal(
    descent: Descent, error: float | None, ended: Ended, dense: Measured, pruned: Measured
) -> Goal:
    tolerance = descent.tolerance
    return Goal(
        max_drop=tolerance.max_drop,
        minimise=tolerance.cost,
        drop_search=tolerance.drop(dense.quality_search, pruned.quality_search),
        drop_test=tolerance.drop(dense.quality_test, pruned.quality_test),
        standard_error=error,
        ended=ended,
        trials=descent.session.request.trials,
        limits=_limits(descent.tried, tolerance, dense.quality_search),
    )


def _limits(tried: Sequence[Attempt], tolerance: Tolerance, dense: float) -> list[LimitTried]:
    before = [0, *(one.evaluations for one in tried)]
    return [
        LimitTried(
            limit=limit_text(tolerance.cost, one.limit),
            within=one.holds(tolerance, dense),
            drop=tolerance.drop(dense, one.found.quality) if one.found else None,
            share=one.found.share if one.found else None,
            evaluations=one.evaluations - earlier,
            reason=one.reason,
        )
        for one, earlier in zip(tried, before, strict=False)
    ]


def _nothing_within(descent: Descent, tolerance: Tolerance, ended: Ended) -> BudgetError:
    """Return what says that there is no such model, and what came closest."""
    dense, best = descent.session.prepared.dense_quality, descent.best
    cost, metric = tolerance.cost, descent.session.request.task.metric_name
    if best is not None and best.found is not None:
        drop, share = tolerance.drop(dense, best.found.quality), best.found.share
        closest = (
            f"The best one drops by {tolerance.drop_text(drop)} and has {share:.1%} of the dense "
            f"model's {cost} (found at {limit_text(cost, best.limit)})."
        )
    else:
        closest = next((one.reason for one in descent.tried), "Nothing was tried.")
    return BudgetError(
        f"No model within {tolerance.text} of the dense model's {metric} on the "
        f"search split was found at {len(descent.tried)} limits on {cost}, with "
        f"{len(descent.loop.scored)} policies scored{_END[ended]}. {closest} What was scored is "
        "kept: resume with more trials (--trials, --if-exists resume), or allow a larger drop"
        f"{_higher(descent, tolerance)} or a longer recovery (recovery.recover_steps) in another "
        "folder."
    )


def _higher(descent: Descent, tolerance: Tolerance) -> str:
    """Return the advice to raise the budget's own limit on the cost, if there is one."""
    limit = descent.session.request.budget.limits[tolerance.cost]
    usual = tolerance.widest(None).limits[tolerance.cost]
    shown = limit_text(tolerance.cost, limit)
    return "" if limit == usual else f", a higher limit than the budget's {shown}"


_END = {"narrow": "", "trials": " and the trials used up", "time": " when the time was over"}
