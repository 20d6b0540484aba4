"""Whether a decision was harmful: its policy against an alternative, on the same samples."""

from autoprune.agent.evaluating.outcomes import is_stopped
from autoprune.agent.evaluating.significance import chance_worse
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.decisions import TRIES, pairs
from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.core.policy import Policy
from autoprune.storage.records import Evaluation

LEVEL = 0.05  # chance that noise reverts any decision of a policy
_SINGLE = 0.8  # of it is for decisions about one unit, which come first; the rest is for pairs


def examined(
    units: tuple[str, ...],
    before: Evaluation,
    after: Evaluation,
    projection: Projection,
    expected: float | None = None,
    *,
    family: int = 0,
    step: int = 0,
) -> LedgerEntry:
    """Return what became of a decision.

    The test is a one-sided paired t-test over parts of the search split; `LEVEL` is shared
    out among all alternatives to the policy that may be looked at (weighted Bonferroni).

    Args:
        units: Whose choices were examined.
        before: Evaluation of the policy that made the decision.
        after: Evaluation of the alternative.
        projection: What knows costs.
        expected: The score that was expected of the alternative; None where nothing was.
        family: How many tests share the level alike; 0 for decisions of a search.
        step: Which step of a progressive run it is about, from 1.
    """
    assert before.score is not None
    assert before.quality is not None
    threshold = LEVEL / family if family else level_of(len(units), len(before.policy))
    chance = None
    if after.score is not None and before.stages and after.stages:
        chance = chance_worse(before.stages[-1], after.stages[-1])
    return LedgerEntry(
        units=units,
        policy=before.policy,
        alternative=after.policy,
        outcome=_outcome(before, after, chance, threshold),
        expected_regret=None if expected is None else before.score - expected,
        score_before=before.score,
        score_after=after.score,
        quality_before=before.quality,
        quality_after=after.quality,
        costs_before=costs_in(projection, before.policy),
        costs_after=costs_in(projection, after.policy),
        p_value=chance,
        threshold=threshold,
        sample_forwards=after.sample_forwards,
        step=step,
    )


def level_of(units: int, cut: int) -> float:
    """Return the level of the test of one decision.

    Args:
        units: How many units it is about, 1 or 2.
        cut: How many units the policy cuts.
    """
    share = _SINGLE / cut if units == 1 else (1 - _SINGLE) / pairs(cut)
    return LEVEL * share / TRIES


def _outcome(
    before: Evaluation, after: Evaluation, chance: float | None, threshold: float
) -> Outcome:
    if is_stopped(after):
        return Outcome.STOPPED
    if after.score is None or before.score is None:
        return Outcome.FAILED
    if after.score > before.score:
        return Outcome.WORSE
    return Outcome.REVERTED if chance is not None and chance < threshold else Outcome.NOISE


def costs_in(projection: Projection, policy: Policy) -> dict[str, float]:
    """Return the costs of a policy by name, as a ledger keeps them."""
    found = projection.costs_of(policy).as_dict()
    return {name: float(value) for name, value in found.items()}
