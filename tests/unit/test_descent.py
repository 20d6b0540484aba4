"""From limit to limit with a scorer whose truth is known: what is found, and what it costs."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.finalists.race import recover_finalists
from autoprune.agent.goals.attempts import Attempt, Found, remember, remembered
from autoprune.agent.goals.descent import Descent
from autoprune.agent.goals.tolerance import _limits, _nothing_within
from autoprune.agent.latency.gate import Gate
from autoprune.agent.loop.loop import Loop
from autoprune.agent.preparing.pricing import Pricing
from autoprune.agent.samplers.front import FrontSampler
from autoprune.agent.samplers.names import Start, make_sampler
from autoprune.agent.session import Session
from autoprune.core.bisection import PRECISION
from autoprune.core.limit import Limit
from autoprune.core.policy import Choice, Policy
from autoprune.core.progress import Progress
from autoprune.core.stages import Stage
from autoprune.core.tolerance import Tolerance
from autoprune.core.workers import Crew, Inline
from autoprune.cost.latency.observations import Comparison
from autoprune.errors import ModelError, OutOfMemoryError
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation
from autoprune.storage.study import close_study, open_study
from autoprune.testing.chains import chain

pytestmark = pytest.mark.usefixtures("quiet_optuna")

KEPT = {f"u{at}": tuple(range(32, 3, -2)) for at in range(4)}
DENSE = 0.95
Curve = Callable[[float], float]  # quality of a share of the dense model's MACs


class Killed(BaseException):
    """Stands for SIGKILL."""


@dataclass
class Fake:
    """Scores by the cost alone; counts what it is really asked to score and to fine-tune."""

    curve: Curve
    projection: Projection
    stored: dict[str, Evaluation] = field(default_factory=dict)
    scored: Counter[str] = field(default_factory=Counter)
    tuned: Counter[str] = field(default_factory=Counter)
    dies_after: int | None = None
    recover: Any = None
    task: Any = field(
        default_factory=lambda: SimpleNamespace(higher_is_better=True, is_share=True)
    )
    finalists: int = 2
    recovery: Any = field(default_factory=lambda: SimpleNamespace(recover_steps=8))

    @property
    def scorer(self) -> "Fake":
        return self

    def kept(self, policy: Policy) -> dict[str, int]:
        return {unit: round(32 * (1 - choice.sparsity)) for unit, choice in policy.items()}

    def quality(self, policy: Policy) -> float:
        found, whole = self.projection.costs_of(policy), self.projection.cost.dense
        return self.curve(found.macs / whole.macs)

    def known(self, policy: Policy) -> Evaluation:
        return self.score(policy)

    def known_all(self, wanted: Sequence[tuple[Policy, Any]]) -> dict[Policy, Evaluation]:
        return {policy: self.score(policy, watch) for policy, watch in wanted}

    def score(self, policy: Policy, watch: Any = None) -> Evaluation:
        known = self.stored.get(policy.fingerprint)
        if known is None:
            if self.dies_after is not None and sum(self.scored.values()) == self.dies_after:
                raise Killed
            self.scored[policy.fingerprint] += 1
            quality = self.quality(policy)
            known = Evaluation(policy, "scored", 1 - quality, quality, 1.0, 1.0)
            self.stored[policy.fingerprint] = known
        return known

    def finalist(self, policy: Policy) -> Any:
        quality = self.quality(policy)
        found = Evaluation(policy, "recovered", 1 - quality, quality, 1.0, 1.0)

        def finish() -> Any:
            self.tuned[policy.fingerprint] += 1
            return None, found

        return SimpleNamespace(
            reach=lambda steps: Stage(steps, 1, 1 - quality, (1 - quality,), quality),
            finish=finish,
            leave=lambda: found,
        )


Made = Callable[..., tuple[Descent, Fake]]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """Return what makes a search of a chain, in a study of its own name."""
    studies = []

    def make(
        curve: Curve,
        trials: int = 40,
        budget: str = f"macs={100 * (1 - PRECISION):g}%",
        name: str = "s",
        stored: dict[str, Evaluation] | None = None,
        max_drop: float = 2.0,
        told: list[Progress] | None = None,
    ) -> tuple[Descent, Fake]:
        projection = chain(KEPT, budget)
        fake = Fake(curve, projection, {} if stored is None else stored)
        tolerance = Tolerance(max_drop)

        def at_limit(inside: Projection, number: int, begun: int) -> FrontSampler:
            return FrontSampler(
                [make_sampler("budgeted", Start(projection=inside, seed=0, rollback=0.0))],
                0,
                begun,
            )

        first = at_limit(projection, 0, 0)
        study = open_study(sqlite_url(tmp_path / "s.db"), name, costs=["macs"], sampler=first)
        studies.append(study)
        progress = [] if told is None else told
        request = SimpleNamespace(
            trials=trials,
            budget=projection.budget,
            traded="macs",
            tolerance=tolerance,
            progress=progress.append,
            task=SimpleNamespace(metric_name="top-1"),
        )
        prepared = SimpleNamespace(
            pricing=Pricing([projection], ()), projection=projection, dense_quality=DENSE
        )
        session = SimpleNamespace(
            request=request,
            prepared=prepared,
            study=study,
            evaluations=fake,
            proposers=SimpleNamespace(at_limit=at_limit),
            recover=lambda projection: recover_finalists,
        )
        loop = Loop(
            study=study,
            sampler=first,
            evaluations=cast(Any, fake),
            crew=Crew(Inline(lambda job: fake.score(job.policy))),
            rollback=cast(Any, SimpleNamespace(judge_all=lambda ended, _: [None] * len(ended))),
            trials=trials,
            timeout=None,
            progress=progress.append,
        )
        return Descent(cast(Session, session), tolerance, loop, Gate({}, {})), fake

    yield make
    for study in studies:
        close_study(study)


def steep(threshold: float) -> Curve:
    """Quality that is the dense model's from a share on, and lost below it."""
    return lambda share: DENSE if share >= threshold else DENSE - 0.1


def smooth(share: float) -> float:
    """Quality that falls by two points down to 30% of the dense model, and faster below."""
    return DENSE - 0.02 * (1 - share) / 0.7 - max(0.3 - share, 0.0)


def share_of(one: Attempt | None) -> float:
    assert one is not None
    assert one.found is not None
    return one.found.share


@pytest.mark.parametrize("threshold", [0.08, 0.2, 0.5, 0.8])
def test_the_smallest_model_within_the_drop_is_found(made: Made, threshold: float) -> None:
    descent, fake = made(steep(threshold))
    assert descent.run() == "narrow"
    share = share_of(descent.smallest)
    failed = max(one.limit.amount for one in descent.tried if not descent._holds(one))
    assert threshold <= share
    assert failed < threshold, "a monotone truth leaves no wrong verdict"
    assert failed >= share * (1 - PRECISION) - 1e-9
    assert sum(fake.scored.values()) <= 40


def test_where_quality_falls_slowly_the_drop_decides(made: Made) -> None:
    descent, _ = made(smooth, trials=60)
    assert descent.run() == "narrow"
    share = share_of(descent.smallest)
    assert smooth(share) >= DENSE - 0.02 - 1e-9
    assert share == pytest.approx(0.3, rel=2 * PRECISION)


def test_nothing_is_scored_or_fine_tuned_twice(made: Made) -> None:
    descent, fake = made(smooth, trials=30)
    descent.run()
    assert set(fake.scored.values()) == {1}
    assert len(fake.scored) == len(descent.loop.scored) <= 30


def test_what_was_scored_at_a_lower_limit_counts_at_a_higher_one(made: Made) -> None:
    """Quality that falls with cost: the best at a high limit was scored at a low one."""
    descent, _ = made(lambda share: DENSE - 0.05 - 0.2 * share, trials=20)
    descent.run()
    assert len(descent.tried) > 3
    shares = [share_of(one) for one in descent.tried]
    assert shares == pytest.approx([shares[0]] * len(shares), rel=0.2)
    assert descent.tried[-1].limit.amount > 2 * shares[-1]


def test_where_quality_rises_and_falls_a_range_that_is_met_is_followed_down(made: Made) -> None:
    """What holds lies between 35% and 60% alone: the limits meet it, and find its lower end."""
    descent, _ = made(lambda share: DENSE if 0.35 <= share <= 0.6 else DENSE - 0.1)
    assert descent.run() == "narrow"
    assert share_of(descent.smallest) == pytest.approx(0.35, rel=PRECISION + 0.02)


def test_a_model_below_a_limit_that_failed_wins_all_the_same(made: Made) -> None:
    """As where a limit failed by bad luck: the smallest that held is the result, and goes on."""
    descent, fake = made(steep(0.2), trials=30)
    unlucky = Attempt(limit=Limit(0.5, relative=True), trials=30, evaluations=0, reason="luck")
    policy = Policy({unit: Choice("channel.l1", 0.4375) for unit in KEPT})
    share = fake.projection.costs_of(policy).macs / fake.projection.cost.dense.macs
    assert 0.2 < share < 0.4
    found = Found(policy=policy, quality=DENSE, amount=share, share=share)
    lucky = Attempt(limit=Limit(0.7, relative=True), trials=30, evaluations=0, found=found)
    remember(descent.session.study, [unlucky, lucky])
    assert descent.run() == "narrow"
    assert all(one.limit.amount < share for one in descent.tried[2:])
    assert share_of(descent.smallest) == pytest.approx(0.2, rel=2 * PRECISION)


def test_where_everything_holds_the_smallest_that_can_be_reached_is_returned(made: Made) -> None:
    descent, fake = made(lambda share: DENSE)
    assert descent.run() == "narrow"
    least = fake.projection.smallest.macs / fake.projection.cost.dense.macs
    assert share_of(descent.smallest) == least


def test_where_nothing_holds_it_says_what_came_closest(made: Made) -> None:
    descent, _ = made(lambda share: DENSE - 0.1 + 0.05 * share)
    ended = descent.run()
    assert (ended, descent.smallest) == ("narrow", None)
    assert descent.tried[-1].limit.amount == 1 - PRECISION, "the highest limit was tried"
    text = str(_nothing_within(descent, descent.tolerance, ended))
    best = share_of(descent.best)
    assert "No model within 2 points of the dense model's top-1 on the search split" in text
    assert f"drops by {10 - 5 * best:.2f} points and has {best:.1%} of the dense" in text
    assert "resume with more trials" in text


def test_trials_are_shared_by_the_limits_and_never_exceeded(made: Made) -> None:
    descent, fake = made(steep(0.5), trials=5)
    assert descent.run() == "trials"
    assert [one.evaluations for one in descent.tried] == [2, 4, 5]
    assert len(fake.scored) == 5


def test_a_budget_on_the_cost_is_the_highest_limit_and_others_hold(made: Made) -> None:
    descent, fake = made(lambda share: DENSE - 0.1, budget="macs=40%,params=60%")
    descent.run()
    assert max(one.limit.amount for one in descent.tried) == 0.4
    whole = fake.projection.cost.dense.params
    for one in descent.loop.scored.values():
        assert fake.projection.costs_of(one.policy).params <= 0.6 * whole


def test_amounts_are_bisected_in_their_own_unit(made: Made) -> None:
    descent, fake = made(steep(0.3), budget="macs=2000")
    assert descent.run() == "narrow"
    best = descent.smallest
    assert best is not None
    assert best.found is not None
    assert not best.limit.relative
    assert best.found.amount == fake.projection.costs_of(best.found.policy).macs
    assert best.found.amount <= best.limit.amount <= 2000


@pytest.mark.parametrize("after", [0, 1, 4, 9, 15])
def test_a_killed_search_comes_to_the_same_end(made: Made, after: int) -> None:
    whole, fake = made(smooth, trials=16, name="whole")
    ended = whole.run()
    killed, dying = made(smooth, trials=16, name="killed")
    dying.dies_after = after
    with pytest.raises(Killed):
        killed.run()
    again, more = made(smooth, trials=16, name="killed", stored=dying.stored)
    assert again.run() == ended
    assert again.tried == whole.tried
    assert dying.scored.keys() | more.scored.keys() == fake.scored.keys()
    assert not dying.scored.keys() & more.scored.keys()


def test_a_finished_search_goes_on_with_more_trials(made: Made) -> None:
    """A limit that failed with few trials is no limit for ever: the highest one is tried again."""
    first, fake = made(steep(0.5), trials=14)
    first.run()
    before = len(first.tried)
    same, _ = made(steep(0.5), trials=14, stored=fake.stored)
    same.run()
    assert same.tried == first.tried, "nothing is tried again with the same trials"
    curve = steep(0.4)  # as if more trials found better models
    again, _ = made(curve, trials=40, stored=fake.stored)
    again.run()
    assert again.tried[:before] == first.tried
    assert share_of(again.smallest) < share_of(first.smallest)


def test_trials_may_be_raised_more_than_once(made: Made) -> None:
    first, fake = made(steep(0.5), trials=14)
    first.run()
    second, _ = made(steep(0.5), trials=40, stored=fake.stored)  # fails again where it failed
    second.run()
    assert len(second.tried) > len(first.tried)
    third, _ = made(steep(0.4), trials=80, stored=fake.stored)
    third.run()
    assert share_of(third.smallest) < share_of(second.smallest)


def test_a_limit_that_cannot_be_searched_counts_as_failed(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    descent, fake = made(lambda share: DENSE)
    score = fake.score

    def diverges(policy: Policy, watch: Any = None) -> Evaluation:
        if fake.projection.costs_of(policy).macs < 0.3 * fake.projection.cost.dense.macs:
            return Evaluation(policy, "failed: NaN", None, None, 0.0, 0.0)
        return score(policy, watch)

    monkeypatch.setattr(fake, "score", diverges)
    descent.run()
    assert 0.3 <= share_of(descent.smallest) <= 0.3 / (1 - PRECISION) + 0.02
    reasons = {one.reason for one in descent.tried if one.found is None}
    assert any("could be" in reason for reason in reasons)


def test_memory_that_runs_out_is_no_verdict_on_a_limit(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    descent, fake = made(smooth)

    def fails(policy: Policy, watch: Any = None) -> Evaluation:
        raise OutOfMemoryError("Memory ran out.")

    monkeypatch.setattr(fake, "score", fails)
    with pytest.raises(ModelError, match="Memory ran out"):
        descent.run()
    assert remembered(descent.session.study) == []


def test_without_time_it_ends_and_a_failure_is_not_remembered(made: Made) -> None:
    descent, _ = made(lambda share: DENSE - 0.1)
    descent.loop.timeout = 0.0
    assert descent.run() == "time"
    assert len(descent.tried) == 1
    assert remembered(descent.session.study) == []


def test_each_limit_is_told(made: Made) -> None:
    told = list[Progress]()
    descent, _ = made(steep(0.5), trials=12, told=told)
    descent.run()
    notes = [event.note for event in told if event.note and event.note.startswith("limit ")]
    assert len(notes) == len(descent.tried)
    assert notes[0].startswith("limit 1: macs=")
    assert notes[0].endswith("(2 points: none yet)")


def test_what_was_tried_is_told_with_its_outcome(made: Made) -> None:
    descent, _ = made(steep(0.5), trials=12)
    descent.run()
    rows = _limits(descent.tried, descent.tolerance, DENSE)
    assert sum(row.evaluations for row in rows) == len(descent.loop.scored)
    for row, one in zip(rows, descent.tried, strict=True):
        assert row.share == share_of(one) <= one.limit.amount
        assert row.drop == pytest.approx(0 if row.within else 10)


def test_what_is_remembered_comes_back_as_it_was(made: Made) -> None:
    descent, _ = made(smooth)
    dense, pruned = ([0.004, 0.005, 0.006], [0.002, 0.003, 0.003])
    policy = Policy({"u0": Choice("channel.l1", 0.25)})
    measured = {"latency@fake": Comparison.of(dense, pruned)}
    found = Found(policy=policy, quality=0.9, amount=0.5, share=0.5, measured=measured)
    limit = Limit(0.55, relative=True)
    tried = [
        Attempt(limit=limit, trials=9, evaluations=2, found=found),
        Attempt(limit=Limit(8.0, False, "ms"), trials=9, evaluations=4, reason="none"),
    ]
    remember(descent.session.study, tried)
    assert remembered(descent.session.study) == tried
    json.dumps([one.to_dict() for one in tried])
    (measurement,) = found.measurements({"latency@fake": limit}).values()
    assert (measurement.comparison, measurement.limit) == (measured["latency@fake"], limit)
