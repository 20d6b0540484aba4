"""How a search stands is counted as evaluations end, each once, under whatever is aimed at."""

from types import SimpleNamespace
from typing import Any, cast

from autoprune.agent.loop.tally import Tally
from autoprune.agent.samplers.attributes import EXAMINES, PREDICTED, REGRET, SCREENING
from autoprune.agent.samplers.proposal import PREQUENTIAL
from autoprune.core.policy import Choice, Policy
from autoprune.core.progress import Ended, SearchState
from autoprune.storage.records import Evaluation
from autoprune.tasks import Task
from autoprune.testing.chains import chain

PROJECTION = chain({"a": range(12, 0, -1), "b": range(16, 0, -2)}, "macs=99%", ("channel.l1",))
TASK = cast(Task, SimpleNamespace(higher_is_better=False, is_share=True))


def evaluation(cut: float = 0.25, outcome: str = "scored", **changes: Any) -> Evaluation:
    policy = Policy({"a": Choice("channel.l1", cut)})
    known = {"loss": 0.1, "quality": 0.9, "sample_forwards": 5.0, "seconds": 2.0, "score": 0.1}
    return Evaluation(policy, outcome, **(known | changes))


def test_each_end_is_counted() -> None:
    tally = Tally()
    unknown: dict[str, Any] = {"loss": None, "quality": None, "score": None}
    stopped = evaluation(0.5, "stopped: early stop", **unknown)
    failed = evaluation(0.75, "failed: it raised", **unknown)
    tally.add(0, evaluation(0.1), {})
    tally.add(1, evaluation(0.25, sample_forwards=0.0), {})
    tally.add(2, stopped, {REGRET: {"reverted": True}})
    tally.add(3, failed, {REGRET: {"reverted": False}})
    tally.add(4, failed, {REGRET: {"reverted": False}})  # told again
    assert tally.state(PROJECTION, 3) == SearchState(
        working=3, stopped=1, failed=1, reused=1, inside=4, examined=2, reverted=1
    )


def test_the_last_record_of_the_predictor_counts() -> None:
    tally, made = Tally(), {"expected": 0.2, "low": 0.1, "high": 0.3}
    record = {"count": 8, "spearman": 0.7, "coverage": 0.9}
    screened = {PREDICTED: made, PREQUENTIAL: record, SCREENING: {"audit": False}}
    tally.add(0, evaluation(0.1), screened)
    tally.add(1, evaluation(0.25), {PREQUENTIAL: "a user's own"})
    state = tally.state(PROJECTION, 0)
    assert (state.predictions, state.rank_correlation, state.coverage) == (8, 0.7, 0.9)
    assert state.decides
    alternative = {PREDICTED: made, PREQUENTIAL: record, EXAMINES: {"row": [], "units": []}}
    tally.add(3, evaluation(0.75), alternative)
    assert tally.state(PROJECTION, 0).decides, "alternatives are never screened"
    tally.add(2, evaluation(0.5), {PREDICTED: made, PREQUENTIAL: record | {"spearman": None}})
    state = tally.state(PROJECTION, 0)
    assert state.rank_correlation is None
    assert not state.decides


def test_few_predictions_have_no_figures() -> None:
    tally = Tally()
    record = {"count": 7, "spearman": -1.0, "coverage": 0.0}
    tally.add(0, evaluation(0.1), {PREQUENTIAL: record})
    state = tally.state(PROJECTION, 0)
    assert (state.predictions, state.rank_correlation, state.coverage) == (7, None, None)


def test_a_lower_aim_is_compared_with_all_that_was_scored() -> None:
    projection = chain({"a": range(12, 0, -1)}, "macs=99%", ("channel.l1",))
    tally = Tally()
    for cut in (0.1, 0.25, 0.5):
        tally.add(0, evaluation(cut), {})
    assert tally.state(projection, 0).inside == 3
    projection.tighten("macs", 0.6)
    assert tally.state(projection, 0).inside == 1
    tally.add(1, evaluation(0.75), {})
    assert tally.state(projection, 0).inside == 2
    other = chain({"a": range(12, 0, -1)}, "macs=30%", ("channel.l1",))
    assert tally.state(other, 0).inside == 1, "along a front each limit has its own"


def test_what_ended_is_told_once() -> None:
    tally = Tally()
    tally.add(4, evaluation(), {"source": "switch", PREDICTED: {"expected": 0.2}})
    assert tally.fresh(TASK) == (
        Ended(
            number=4,
            source="switch",
            outcome="scored",
            quality=-0.9,
            score=0.1,
            expected=0.2,
            seconds=2.0,
        ),
    )
    assert tally.fresh(TASK) == ()
