"""What may be given up: points of a metric, for a low cost; and how sure a drop is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn

from autoprune.agent.goals.drop import drop_error
from autoprune.core.budget import Budget
from autoprune.core.limit import Limit
from autoprune.core.recovery import Recovery
from autoprune.core.tolerance import Tolerance
from autoprune.errors import BudgetError, ConfigError
from autoprune.evaluation.measuring.measure import measure
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.tasks import Classification


@pytest.mark.parametrize(
    ("given", "cost"),
    [
        (None, "macs"),
        ("flops", "macs"),
        ("params", "params"),
        ("latency@onnxruntime/threads=1", "latency@onnxruntime/threads=1"),
    ],
)
def test_what_is_minimised_is_a_cost_of_a_budget(given: str | None, cost: str) -> None:
    assert Tolerance.parse(1.0, given) == Tolerance(1.0, cost)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mac", "Did you mean 'macs'"),
        ("latency", "A limit on latency names what runs the model"),
        ("macs=50%", "What is to be minimised is a cost"),
    ],
)
def test_what_is_no_cost_is_explained(given: str, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        Tolerance.parse(1.0, given)


@pytest.mark.parametrize("drop", [-0.1, float("nan"), float("inf"), True, "1"])
def test_what_is_no_drop_is_refused(drop: Any) -> None:
    with pytest.raises(ConfigError, match="max_drop must be"):
        Tolerance(drop)


def test_points_are_a_hundred_times_the_metric() -> None:
    assert Tolerance(1.0).drop(0.98, 0.955) == pytest.approx(2.5)
    assert Tolerance(1.0).drop(0.9, 0.95) == pytest.approx(-5)
    assert (Tolerance(1.0).text, Tolerance(2.5).text) == ("1 point", "2.5 points")


def test_what_is_no_share_drops_by_its_own_unit() -> None:
    decibels = Tolerance.parse(0.5, "params", is_share=False)
    assert decibels.drop(30.0, 29.6) == pytest.approx(0.4)
    assert decibels.holds(30.0, 29.5)
    assert not decibels.holds(30.0, 29.4)
    assert str(decibels) == "lowest params within 0.5"
    assert decibels.drop_text(0.4, 0.0123) == "0.4 ± 0.0123"


def test_a_drop_of_all_that_there_is_is_seen() -> None:
    unsaid = Tolerance(1.0, is_share=False)
    assert unsaid.allows_all(0.93)
    assert not unsaid.allows_all(30.0), "decibels, say"
    assert not unsaid.allows_all(-0.3), "an error may rise without end"
    assert not Tolerance(1.0).allows_all(0.93)


def test_a_drop_that_is_just_allowed_is_allowed_whatever_rounding_says() -> None:
    assert Tolerance(1.0).drop(0.98, 0.97) > 1
    assert Tolerance(1.0).holds(0.98, 0.97)
    assert not Tolerance(1.0).holds(0.98, 0.9699)
    assert Tolerance(0).holds(0.5, 0.5)


def test_the_highest_limit_is_that_of_the_budget() -> None:
    assert Tolerance(1.0).widest(None) == Budget.parse("macs=95%")
    both = Tolerance(1.0).widest(Budget.parse("macs=2M,size=1MB"))
    assert both == Budget.parse("macs=2M,size=1MB")
    more = Tolerance(1.0, "params").widest(Budget.parse("macs=50%")).limits
    assert more["params"] == Limit(0.95, relative=True)


# --- the standard error


@pytest.fixture
def scorer(scorer_of: Callable[[Recovery], Scorer]) -> Scorer:
    return scorer_of(Recovery())


class Biased(nn.Module):
    """Says one class, whatever it sees."""

    def __init__(self, favourite: int) -> None:
        super().__init__()
        self.favourite = favourite

    def forward(self, x: Any) -> Any:
        return nn.functional.one_hot(x.new_full((len(x),), self.favourite).long(), 3).float()


def test_it_comes_from_paired_differences_of_batches(scorer: Scorer, task: Classification) -> None:
    pruned = Biased(1)
    gaps = []
    for batch in task.batches("search"):
        one = replace(
            scorer, task=Classification({s: [batch] for s in ("train", "search", "test")})
        )
        both = (
            measure(model, one.task, "search", "cpu").quality for model in (scorer.model, pruned)
        )
        gaps.append(Tolerance(0).drop(*both))
    expected = np.std(gaps, ddof=1) / np.sqrt(len(gaps))
    assert expected > 0
    assert drop_error(scorer, pruned) == pytest.approx(expected, rel=1e-5)
    own = Classification({s: [*task.batches(s)] for s in ("train", "search", "test")})
    own.is_share = False
    assert drop_error(replace(scorer, task=own), pruned) == pytest.approx(expected / 100, rel=1e-5)


def test_what_is_hard_for_both_adds_nothing(scorer: Scorer) -> None:
    assert drop_error(scorer, scorer.model) == 0


def test_of_one_batch_nothing_is_known(scorer: Scorer, task: Classification) -> None:
    batch = next(iter(task.batches("search")))
    one = Classification({split: [batch] for split in ("train", "search", "test")})
    assert drop_error(replace(scorer, task=one), Biased(1)) is None


class _NeedsMore:
    """A metric that is none of one batch."""

    def __init__(self, otherwise: float | None) -> None:
        self._otherwise, self._batches = otherwise, 0

    def update(self, outputs: Any, batch: Any) -> None:
        self._batches += 1

    def compute(self) -> float:
        if self._batches > 1:
            return 0.5
        if self._otherwise is None:
            raise ValueError("one class only")
        return self._otherwise


@pytest.mark.parametrize("otherwise", [None, float("nan")])
def test_where_batches_have_no_metric_nothing_is_known(
    scorer: Scorer, otherwise: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer.task, "metric", lambda: _NeedsMore(otherwise))
    assert measure(scorer.model, scorer.task, "search", "cpu").quality == 0.5
    assert drop_error(scorer, Biased(1)) is None
