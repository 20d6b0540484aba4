"""Finalists that workers train come to what one process makes of them, whoever dies meanwhile."""

import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.scoring import ScoreWork
from autoprune.agent.finalists.race import recover_finalists
from autoprune.agent.finalists.side_by_side import SideBySide
from autoprune.core.policy import Choice, Policy
from autoprune.core.progress import Progress, silent
from autoprune.core.recovery import Recovery
from autoprune.core.workers import Crew, Done
from autoprune.errors import CandidateError, InfrastructureError, OutOfMemoryError
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.evaluation.training.fine_tune import FineTuning
from autoprune.storage.records import Evaluation

POLICIES = [Policy({"stem": Choice("channel.l1", at / 8)}) for at in range(1, 6)]
RANKED = [Evaluation(policy, "scored", 1.0, 0.5, 0.0, 0.0) for policy in POLICIES]
RECOVERY = Recovery(score_steps=0, recover_steps=8, finalists=4, calibration_batches=1)


class Backwards:
    """Workers that share nothing, of whom the last one that was given a job is done first."""

    size = 3
    staged = False

    def __init__(self, work: ScoreWork, loses: Callable[[int], bool]) -> None:
        self.work, self.loses = work, loses
        self.jobs: list[tuple[int, bytes]] = []

    def submit(self, ticket: int, job: Any) -> None:
        self.jobs.append((ticket, pickle.dumps(job)))

    def wait(self, timeout: float | None = None) -> list[Done[Any]]:
        ticket, job = self.jobs.pop()
        if self.loses(ticket):
            return [Done(ticket, None, lost="ended by signal 9")]
        torch.rand(7)  # others compute in between
        try:
            found = self.work(pickle.loads(job))
        except OutOfMemoryError as err:
            return [Done(ticket, None, raised=err)]
        return [Done(ticket, pickle.loads(pickle.dumps(found)))]


@pytest.fixture
def evaluations(
    scorer_of: Callable[[Recovery], Scorer], evaluations_by: Callable[[Scorer], Evaluations]
) -> Evaluations:
    return evaluations_by(scorer_of(RECOVERY))


def recovered(
    evaluations: Evaluations,
    progress: Callable[[Progress], None] = silent,
    loses: Callable[[int], bool] = lambda ticket: False,
    **more: Any,
) -> tuple[nn.Module, Evaluation, list[Evaluation]]:
    """Return what workers find, and what is kept of all finalists."""
    workers = Backwards(ScoreWork(evaluations.scorer), loses)
    apart = replace(evaluations, data_fp="workers")
    advance = SideBySide(Crew(workers))
    return (*recover_finalists(RANKED, apart, progress, **more, advance=advance), trained(apart))


def alone(evaluations: Evaluations, **more: Any) -> tuple[nn.Module, Evaluation, list[Evaluation]]:
    """Return what one process finds, and what is kept of all finalists."""
    return (*recover_finalists(RANKED, evaluations, silent, **more), trained(evaluations))


def trained(evaluations: Evaluations) -> list[Evaluation]:
    known = (evaluations.finalist(one.policy).known for one in RANKED)
    return [one for one in known if one is not None]


def assert_same(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> None:
    def lasting(found: Evaluation) -> Evaluation:
        return replace(found, seconds=0.0)

    assert lasting(ours[1]) == lasting(theirs[1])
    assert list(map(lasting, ours[2])) == list(map(lasting, theirs[2]))
    one, other = ours[0].state_dict(), theirs[0].state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"ema": 0.9},
        {"patience": 1, "look_every": 1, "learning_rate": 0.5},
        {"recover_steps": 0},
        {"finalists": 1},
    ],
    ids=lambda change: next(iter(change), "defaults"),
)
def test_workers_find_what_one_process_finds(
    evaluations: Evaluations, change: dict[str, Any]
) -> None:
    scorer = evaluations.scorer
    own = replace(evaluations, scorer=replace(scorer, recovery=replace(RECOVERY, **change)))
    assert_same(recovered(own), alone(own))


def test_progress_counts_who_arrives(evaluations: Evaluations) -> None:
    events: list[Progress] = []
    recovered(evaluations, events.append)
    assert [(one.stage, one.done, one.total) for one in events] == [
        ("recover", done, 7) for done in range(1, 8)
    ]


def test_who_was_refused_goes_on_from_where_a_worker_left_it(evaluations: Evaluations) -> None:
    def accepting() -> Callable[[Evaluation, nn.Module], bool]:
        left = iter([False] * 4 + [True])
        return lambda found, model: next(left)

    ours = recovered(evaluations, accepts=accepting())
    assert_same(ours, alone(evaluations, accepts=accepting()))


def test_a_fall_goes_back_as_far_as_in_one_process(
    evaluations: Evaluations, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, falls = FineTuning._loss, list[int]()

    def falling(self: FineTuning, batch: Any) -> torch.Tensor:
        falls.extend([self.done] if self.done == 5 and not self.halvings else [])
        return loss(self, batch) * (torch.nan if self.done == 5 and not self.halvings else 1)

    monkeypatch.setattr(FineTuning, "_loss", falling)
    assert_same(recovered(evaluations), alone(evaluations))
    assert falls == [5, 5]


@pytest.mark.parametrize("at", [0, 2, 4])
def test_who_cannot_be_trained_leaves_the_race_alike(
    evaluations: Evaluations, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    step = FineTuning._step
    narrow = evaluations.scorer.kept(POLICIES[1])["stem"]

    def failing(self: FineTuning, batch: Any) -> None:
        if self.done >= at and self._model.get_parameter("stem.weight").shape[0] == narrow:
            raise CandidateError("It diverged.")
        step(self, batch)

    monkeypatch.setattr(FineTuning, "_step", failing)
    assert_same(recovered(evaluations), alone(evaluations))


def losing(times: int, ticket: int | None = None) -> Callable[[int], bool]:
    counts = Counter[int]()

    def loses(given: int) -> bool:
        counts[given] += ticket in (given, None)
        return 0 < counts[given] <= times

    return loses


def test_a_finalist_whose_worker_is_lost_is_trained_again(evaluations: Evaluations) -> None:
    ours = recovered(evaluations, loses=losing(2))
    assert_same(ours, alone(evaluations))


def test_one_that_costs_three_workers_is_replaced_by_the_next(evaluations: Evaluations) -> None:
    _, _, found = recovered(evaluations, loses=losing(3, ticket=1))
    assert [one.policy for one in found] == [POLICIES[at] for at in (0, 2, 3, 4)]


def test_workers_that_never_live_end_the_search(evaluations: Evaluations) -> None:
    with pytest.raises(InfrastructureError, match=r"last 3 finalists each cost 3 workers"):
        recovered(evaluations, loses=losing(99))


def test_where_memory_runs_out_no_worker_is_left_with_a_job(
    evaluations: Evaluations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: FineTuning, batch: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(FineTuning, "_step", full)
    workers = Backwards(ScoreWork(evaluations.scorer), lambda ticket: False)
    with pytest.raises(OutOfMemoryError):
        recover_finalists(RANKED, evaluations, silent, advance=SideBySide(Crew(workers)))
    assert workers.jobs == []


def test_what_is_known_is_not_trained_again(
    evaluations: Evaluations, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = recovered(evaluations)
    monkeypatch.setattr(FineTuning, "_step", partial(pytest.fail, "it is known"))
    assert recovered(evaluations)[1:] == whole[1:]
