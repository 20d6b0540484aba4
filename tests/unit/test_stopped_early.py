"""When a candidate is stopped: rarely without need, and never on what is not known."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats
from torch import nn

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.scoring import ScoreWork, Scoring
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.loop import early_stop
from autoprune.agent.loop.early_stop import Courses, lowest, reason_to_stop, worse
from autoprune.agent.loop.loop import Loop
from autoprune.agent.loop.trials import ended as finished_trials
from autoprune.agent.loop.trials import tell_all
from autoprune.agent.rollback.rollback import Rollback
from autoprune.agent.samplers.projected import ProjectedSampler
from autoprune.core.budget import Budget
from autoprune.core.policy import Choice, Policy
from autoprune.core.progress import silent
from autoprune.core.recovery import Recovery
from autoprune.core.stages import Stage
from autoprune.core.workers import Crew, Inline
from autoprune.cost.model import CostModel
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.space.schema import SearchSpace
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.ledger import Ledger
from autoprune.storage.records import Evaluation
from autoprune.storage.study import open_study
from autoprune.surgery.plan import Plan
from autoprune.tasks import Classification

BATCHES = 10


def stage(values: Any, steps: int = 10, samples: int = 100) -> Stage:
    return Stage(steps, samples, float(np.mean(values)), tuple(map(float, values)))


def evaluation(score: float, *stages: Stage, policy: Policy | None = None) -> Evaluation:
    policy = policy or Policy({"u": Choice("channel.l1", round(score % 1, 6))})
    return Evaluation(policy, "scored", score, 0.5, 1.0, 1.0, stages=stages)


# --- the paired test


def test_the_paired_test_is_that_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    for shift in np.linspace(0, 1, 21):
        best = rng.normal(size=BATCHES)
        ours = best + shift + rng.normal(size=BATCHES) / 2
        p = stats.ttest_rel(ours, best, alternative="greater").pvalue
        assert worse(stage(ours), stage(best)) == (p < early_stop.ALPHA)


def test_a_candidate_as_good_as_the_best_is_stopped_as_rarely_as_promised() -> None:
    """5,000 candidates whose batches differ from the best by noise alone."""
    rng = np.random.default_rng(1)
    hard = rng.normal(size=BATCHES)  # some batches are harder, for all
    best = stage(hard + rng.normal(size=BATCHES) / 10)
    stopped = 0
    for _ in range(5_000):
        best = stage(hard + rng.normal(size=BATCHES) / 10)
        stopped += worse(stage(hard + rng.normal(size=BATCHES) / 10), best)
    # binomial with p = 0.01: 50 expected, 4 standard deviations are 28
    assert 22 <= stopped <= 78


def test_pairing_sees_what_is_lost_in_the_noise_between_batches() -> None:
    rng = np.random.default_rng(2)
    hard = rng.normal(size=BATCHES)
    assert worse(stage(hard + 0.1 + rng.normal(size=BATCHES) / 100), stage(hard))


@pytest.mark.parametrize(
    "best", [None, stage([0.0] * 3), stage([0.0] * BATCHES)], ids=["none", "other", "same"]
)
def test_without_the_same_batches_nothing_is_worse(best: Stage | None) -> None:
    assert not worse(stage([0.0] * BATCHES), best)
    assert not worse(stage([1.0]), stage([0.0])), "one batch has no spread"


# --- the way to the end


def test_the_prediction_interval_holds_nineteen_in_twenty() -> None:
    rng = np.random.default_rng(3)
    below = 0
    for _ in range(2_000):
        reached = rng.normal(size=9)
        final = 0.5 * reached + rng.normal(size=9) / 5
        known = list(zip(reached[:8], final[:8], strict=True))
        below += final[8] < lowest(reached[8], known)
    assert below == pytest.approx(50, abs=28)  # 2.5% lie below, 4 standard deviations


def test_the_interval_is_that_of_the_formula() -> None:
    reached, final = np.arange(8.0), np.array([0, 1.2, 1.8, 3.1, 4, 5.2, 5.9, 7])
    line = stats.linregress(reached, final)
    noise = np.sqrt(np.square(final - line.intercept - line.slope * reached).sum() / 6)
    width = noise * np.sqrt(1 + 1 / 8 + (9 - 3.5) ** 2 / np.square(reached - 3.5).sum())
    by_hand = line.intercept + 9 * line.slope - stats.t.ppf(0.975, 6) * width
    assert lowest(9, zip(reached, final, strict=True)) == pytest.approx(by_hand)
    assert lowest(1, [(1.0, x) for x in final]) == -np.inf


# --- both together


def history(noise: float, count: int = 8) -> list[Evaluation]:
    """Return evaluations whose end follows from the first stage but for noise; best first."""
    rng = np.random.default_rng(4)
    found = []
    for at in range(count):
        first = stage(1 + at / 10 + rng.normal(size=BATCHES) / 100)
        end = first.value - 0.5 + noise * rng.normal()
        found.append(evaluation(end, first, stage([end] * 40, steps=30, samples=400)))
    return sorted(found, key=lambda one: one.score or 0.0)


BAD = [stage(2.0 + np.arange(BATCHES) / 1000)]


def test_a_candidate_that_cannot_catch_up_is_stopped_and_told_why() -> None:
    known = history(noise=0.01)
    why = reason_to_stop(BAD, known[0], Courses.of(known))
    assert why is not None
    assert "worse than the best so far on the same 100 samples after 10 of 30 steps" in why


def test_where_the_first_stage_says_little_of_the_end_none_is_stopped() -> None:
    known = history(noise=3.0)
    assert reason_to_stop(BAD, known[0], Courses.of(known)) is None


@pytest.mark.parametrize("count", [0, 1, 7])
def test_none_is_stopped_before_eight_came_to_their_end(count: int) -> None:
    known = history(noise=0.01)[:count]
    assert reason_to_stop(BAD, next(iter(known), None), Courses.of(known)) is None


def test_after_the_last_step_the_paired_test_decides_alone() -> None:
    known = history(noise=3.0)
    best = evaluation(0.5, stage([0.5] * BATCHES, steps=30), stage([0.5] * 40, 30, 400))
    late = [*BAD, stage(0.7 + np.arange(BATCHES) / 1000, steps=30)]
    assert reason_to_stop(late, best, Courses.of(known)) is not None
    assert reason_to_stop([stage([0.4] * BATCHES, steps=30)], best, Courses.of(known)) is None


def test_an_incumbent_of_before_there_were_stages_stops_none() -> None:
    known = history(noise=0.01)
    assert reason_to_stop(BAD, evaluation(0.1), Courses.of(known)) is None


# --- in the loop


@pytest.fixture
def make(
    net: nn.Module,
    plan: Plan,
    cost: CostModel,
    task: Classification,
    tmp_path: Path,
) -> Callable[..., Loop]:
    """Return what opens a loop on the one database of a test."""
    database = Database.open(sqlite_url(tmp_path / "a.db"))
    run = database.start_run("run", {}, "m", "d")
    methods = ["channel.l1", "channel.l2", "channel.random"]
    levels = [at / 12 for at in range(1, 11)]
    space = SearchSpace.model_validate({"methods": methods, "sparsities": levels, "step": 1})
    spaces = space.resolve({name: unit.atoms for name, unit in plan.units.items()})
    projection = Projection(cost, spaces, Budget.parse("macs=50%"))

    def make(stages: Any = ((1, 0.5), (1, 1)), **more: Any) -> Loop:
        recovery = Recovery(score_steps=2, finalists=1, calibration_batches=1, stages=stages)
        importance = rank_atoms(net, plan, task, methods, 1, "cpu")
        scorer = Scorer(net, plan, importance, cost, task, recovery, seed=0, device="cpu")
        evaluations = Evaluations(
            database=database,
            run_id=run,
            scorer=scorer,
            model_fp="m",
            data_fp="d",
            folder=tmp_path,
        )
        url = sqlite_url(tmp_path / "a.db")
        sampler = ProjectedSampler(projection, 0)
        study = open_study(url, "s", sampler=sampler)
        given: dict[str, Any] = {"trials": 10, "timeout": None, "progress": silent} | more
        rollback = Rollback(Ledger(database, run), projection)
        crew: Crew[Scoring, Evaluation] = Crew(Inline(ScoreWork(scorer)))
        work: dict[str, Any] = {"evaluations": evaluations, "crew": crew, "rollback": rollback}
        return Loop(study=study, sampler=sampler, **work, **given)

    return make


def outcomes(loop: Loop) -> list[str]:
    return [found.outcome for found in loop.scored.values()]


def test_what_is_worse_is_stopped_and_a_resumed_loop_ends_alike(
    make: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoprune.agent.loop.loop.LEAST", 3)
    monkeypatch.setattr(early_stop, "ALPHA", 0.1)
    whole = make(stages=((1, 2 / 3), (1, 1)))
    monkeypatch.setattr(Evaluations, "_key", keyed("undisturbed"))
    whole.study = optuna.create_study(
        sampler=whole.study.sampler, pruner=optuna.pruners.NopPruner()
    )
    whole.run()
    assert 1 <= sum(found.score is None for found in whole.scored.values()) < 7
    assert all(found.score is not None for found in list(whole.scored.values())[:3])

    # killed again and again: after each record, before it is told
    monkeypatch.setattr(Evaluations, "_key", keyed("killed"))
    for trials in range(1, 11):
        for die in (True, False):
            loop = make(stages=((1, 2 / 3), (1, 1)), trials=trials)
            if die:
                monkeypatch.setattr("autoprune.agent.loop.loop.tell_all", killed)
            else:
                monkeypatch.setattr("autoprune.agent.loop.loop.tell_all", tell_all)
            with pytest.raises(KeyboardInterrupt) if die else nullcontext():
                loop.run()
    assert outcomes(loop) == outcomes(whole)
    for ours, theirs in zip(loop.scored.values(), whole.scored.values(), strict=True):
        assert replace(ours, seconds=0.0) == replace(theirs, seconds=0.0)
    assert len(finished_trials(loop.study)) == 10


def killed(*args: Any, **more: Any) -> None:
    raise KeyboardInterrupt


def keyed(name: str) -> Callable[..., Any]:
    """Return a key that keeps two histories in one database apart."""
    key = Evaluations._key

    def own(self: Evaluations, policy: Policy, steps: int) -> Any:
        return replace(key(self, policy, steps), data_fp=name)

    return own


def test_what_another_incumbent_would_not_stop_is_scored_anew(make: Callable[..., Loop]) -> None:
    evaluations = make().evaluations
    policy = Policy({"stem": Choice("channel.l1", 0.5)})
    stopped = evaluations.score(policy, lambda stages: "too slow")
    assert stopped.outcome == "stopped: early stop, too slow"
    assert (stopped.loss, stopped.quality, stopped.score) == (None, None, None)
    assert evaluations.score(policy) == stopped, "the same run takes it"
    assert evaluations.score(policy, lambda stages: "still") == stopped
    found = evaluations.score(policy, lambda stages: None)
    assert found.outcome == "scored"
    assert found.stages[0] == stopped.stages[0]
    assert evaluations.score(policy) == found
    assert evaluations.score(policy, lambda stages: "late") == found, "it is paid for"
