"""Finalists that are trained as a population, without Ray."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import nn

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.finalists.population import ROUNDS, recover_population
from autoprune.agent.preparing.prepare import prepare
from autoprune.agent.request import Request
from autoprune.core.budget import Budget
from autoprune.core.policy import Choice, Policy
from autoprune.core.population import Member, PacedWork
from autoprune.core.progress import Progress
from autoprune.core.recovery import Recovery
from autoprune.errors import BudgetError, CandidateError, ModelError
from autoprune.evaluation.measuring.measure import measure
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.space.schema import SearchSpace
from autoprune.storage.records import Evaluation
from autoprune.tasks import Classification

R = TypeVar("R")
POLICIES = [Policy({"stem": Choice("channel.l1", at)}) for at in (0.25, 0.5, 0.75)]
RANKED = [Evaluation(one, "scored", 1.0, 0.5, 1.0, 1.0) for one in POLICIES]


@dataclass
class Populating:
    """Trains a population in this process; after a stage the last one takes over the first."""

    fail: set[int] = field(default_factory=set)
    calls: int = 0

    def __call__(self, work: PacedWork[Any, R], jobs: Sequence[Any]) -> list[Member[R]]:
        self.calls += 1
        courses = [work.begin(job) for job in jobs]
        results: list[list[R]] = [[] for _ in jobs]
        for at in range(ROUNDS):
            for course, found in zip(courses, results, strict=True):
                torch.rand(3)  # others compute in between
                found.append(course.advance().result)
            if at == 1:
                state = pickle.loads(pickle.dumps(courses[0].state_dict()))
                courses[-1] = work.begin(jobs[0], state)
                courses[-1].set_pace(0.5)
        ended = [Member(tuple(r), c.state_dict()) for r, c in zip(results, courses, strict=True)]
        return [replace(one, state=None) if n in self.fail else one for n, one in enumerate(ended)]


RECOVERY = Recovery(
    recover_steps=8, finalists=3, calibration_batches=2, reconstruct=False, distill=0.0
)


@pytest.fixture
def evaluations(
    scorer_of: Callable[[Recovery], Scorer], evaluations_by: Callable[[Scorer], Evaluations]
) -> Evaluations:
    return evaluations_by(scorer_of(RECOVERY))


def told(event: Progress) -> None:
    assert event.stage == "recover"


def yes(found: Evaluation, model: nn.Module) -> bool:
    return True


def test_the_best_of_a_population_is_kept_with_what_all_of_it_cost(
    evaluations: Evaluations,
) -> None:
    populate = Populating()
    model, found = recover_population(iter(RANKED), evaluations, told, yes, populate=populate)
    all_found = evaluations.finalists()
    scorer = evaluations.scorer
    measured = measure(model, scorer.task, "search", "cpu")
    assert (measured.loss, measured.quality) == pytest.approx((found.loss, found.quality))
    assert found.outcome == "recovered"
    assert found in all_found
    assert [one.policy for one in all_found] == POLICIES
    assert all(one.outcome.startswith("outrun") for one in all_found if one != found)
    # calibration and ROUNDS x (2 steps of 8 samples at three forwards, 24 samples measured)
    legs = [16 + ROUNDS * (3 * 16 + 24)] * 2 + [16 + 2 * (3 * 16 + 24)]
    whole = [n * scorer.share(policy) for n, policy in zip(legs, POLICIES, strict=True)]
    whole[2] += 2 * (3 * 16 + 24) * scorer.share(POLICIES[0])  # it went on from the first
    assert [one.sample_forwards for one in all_found] == pytest.approx(whole)
    again = recover_population(iter(RANKED), evaluations, told, yes, populate=populate)
    assert (again[1], evaluations.finalists()) == (found, all_found)
    assert populate.calls == 1, "what was found before is not found again"
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again[0].state_dict().items())


def test_a_member_that_is_not_accepted_is_followed_by_the_next_policy(
    evaluations: Evaluations,
) -> None:
    asked: list[Policy] = []

    def second(found: Evaluation, model: nn.Module) -> bool:
        asked.append(found.policy)
        return len(asked) == 2

    found = recover_population(RANKED, evaluations, told, second, populate=Populating())[1]
    assert found.policy == asked[1] != asked[0]


def test_where_none_is_accepted_nothing_is_returned(evaluations: Evaluations) -> None:
    with pytest.raises(BudgetError, match="missed a limit"):
        recover_population(
            RANKED, evaluations, told, lambda found, model: False, populate=Populating()
        )


def test_a_winner_is_known_to_the_population_that_it_won_in_alone(
    evaluations: Evaluations,
) -> None:
    populate = Populating()
    winner = recover_population(RANKED, evaluations, told, yes, populate=populate)[1]
    late = Policy({"stem": Choice("channel.l1", 0.625)})
    others = [one for one in RANKED if one.policy != winner.policy][1:]
    changed = [replace(winner, outcome="scored"), *others, replace(RANKED[0], policy=late)]
    before = evaluations.finalists()
    recover_population(changed, evaluations, told, yes, populate=populate)
    all_found = evaluations.finalists()[len(before) :]
    assert populate.calls == 2, "it has another member"
    assert {one.policy for one in all_found} == {one.policy for one in changed}
    again = recover_population(RANKED[::-1], evaluations, told, yes, populate=populate)[1]
    assert (again, populate.calls) == (winner, 2), "the same members, whatever their order"


def test_a_winner_that_is_not_accepted_any_more_is_not_taken(evaluations: Evaluations) -> None:
    populate = Populating()
    winner = recover_population(RANKED, evaluations, told, yes, populate=populate)[1]

    def other(found: Evaluation, model: nn.Module) -> bool:
        return found.policy != winner.policy

    found = recover_population(RANKED, evaluations, told, other, populate=populate)[1]
    assert found.policy != winner.policy
    assert populate.calls == 2


def test_a_winner_whose_weights_are_gone_is_trained_again(evaluations: Evaluations) -> None:
    populate = Populating()
    winner = recover_population(RANKED, evaluations, told, yes, populate=populate)[1]
    assert winner.weights is not None
    (evaluations.folder / winner.weights).unlink()
    again = recover_population(RANKED, evaluations, told, yes, populate=populate)[1]
    assert populate.calls == 2
    assert (again.policy, again.quality) == (winner.policy, winner.quality)
    assert (evaluations.folder / winner.weights).is_file()


def test_the_display_counts_the_members_that_there_are(evaluations: Evaluations) -> None:
    seen: list[tuple[int, int]] = []

    def note(event: Progress) -> None:
        seen.append((event.done, event.total))

    recover_population(RANKED[:2], evaluations, note, yes, populate=Populating())
    assert seen == [(0, 2), (2, 2)]


@pytest.mark.parametrize(("populate", "expected"), [(None, 6), (Populating(), 3)])
def test_a_population_has_as_many_finalists_as_go_the_whole_way(
    net: nn.Module, task: Classification, populate: Populating | None, expected: int
) -> None:
    request = Request(
        model=net,
        task=task,
        budget=Budget.parse("macs=50%"),
        space=SearchSpace.model_validate({"methods": ["channel.l1"], "sparsities": [0.5]}),
        trials=1,
        timeout=None,
        seed=0,
        out=Path("run"),
        if_exists="fail",
        recovery=Recovery(),
        constructor=None,
        device="cpu",
        onnx=False,
        database=None,
        progress=lambda event: None,
        populate=populate,
    )
    assert prepare(request, {}).scorer.finalists == expected


def test_no_population_is_made_of_nobody(evaluations: Evaluations) -> None:
    populate = Populating()
    with pytest.raises(ModelError, match="None of the 0 pruned models"):
        recover_population((), evaluations, told, yes, populate=populate)
    assert populate.calls == 0


def test_members_that_fail_are_left_out(evaluations: Evaluations) -> None:
    found = recover_population(RANKED, evaluations, told, yes, populate=Populating({0, 2}))[1]
    assert found.policy == POLICIES[1]
    assert all(one.sample_forwards > 0 for one in evaluations.finalists()), (
        "what failed cost something too"
    )
    with pytest.raises(ModelError, match="None of the 3 pruned models"):
        recover_population(
            RANKED, with_seed(evaluations, 1), told, yes, populate=Populating({0, 1, 2})
        )


def test_a_training_that_diverges_is_the_candidates_fault(evaluations: Evaluations) -> None:
    wild = replace(evaluations.scorer.recovery, learning_rate=1e9)
    scorer = replace(evaluations.scorer, recovery=wild)
    with pytest.raises(CandidateError):
        recover_population(
            RANKED, replace(evaluations, scorer=scorer), told, yes, populate=Populating()
        )


def with_seed(evaluations: Evaluations, seed: int) -> Evaluations:
    return replace(evaluations, scorer=replace(evaluations.scorer, seed=seed))
