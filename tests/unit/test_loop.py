"""Evaluations, the loop and the finalists: paid for once, and no failure stops the rest."""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import optuna
import pytest
import torch
from optuna.trial import Trial, TrialState
from torch import nn

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.scoring import ScoreWork, Scoring
from autoprune.agent.feasible.encoding import policy_of
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.finalists.race import recover_finalists
from autoprune.agent.housing.company import Alone
from autoprune.agent.loop.loop import Loop
from autoprune.agent.loop.trials import abandon, ask
from autoprune.agent.rollback.rollback import Rollback
from autoprune.agent.samplers.attributes import place_of
from autoprune.agent.samplers.projected import ProjectedSampler
from autoprune.core.budget import Budget
from autoprune.core.policy import Choice, Policy
from autoprune.core.progress import Progress, silent
from autoprune.core.recovery import Recovery
from autoprune.core.workers import Crew, Done, Inline
from autoprune.cost.model import CostModel
from autoprune.errors import BudgetError, CandidateError, DataError, ModelError, OutOfMemoryError
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.scoring import way
from autoprune.evaluation.scoring.candidate import Candidate
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.space.schema import UnitSpace
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.ledger import Ledger
from autoprune.storage.records import Evaluation
from autoprune.surgery.plan import Plan
from autoprune.tasks import Classification

POLICIES = [Policy({"stem": Choice("channel.l1", at / 8)}) for at in range(1, 7)]
RECOVERY = Recovery(score_steps=1, recover_steps=2, finalists=2, calibration_batches=1)


@dataclass(frozen=True)
class Counting(Scorer):
    """Notes what it is asked, and fails where told to."""

    asked: list[tuple[str, int]] = field(default_factory=list)
    fail: Callable[[Policy, int], Exception | None] = lambda policy, steps: None

    def candidate(
        self, policy: Policy, steps: int, *, final: bool = False, bare: bool = False
    ) -> Candidate:
        self.asked.append((policy.fingerprint, steps))
        error = self.fail(policy, steps)
        if error is not None:
            raise error
        return super().candidate(policy, steps, final=final, bare=bare)


@pytest.fixture
def scorer(net: nn.Module, plan: Plan, cost: CostModel, task: Classification) -> Counting:
    importance = rank_atoms(net, plan, task, ["channel.l1", "channel.l2"], 1, "cpu")
    return Counting(net, plan, importance, cost, task, RECOVERY, seed=0, device="cpu")


@pytest.fixture
def evaluations(scorer: Counting, evaluations_by: Callable[[Scorer], Evaluations]) -> Evaluations:
    return evaluations_by(scorer)


def asked(evaluations: Evaluations) -> list[tuple[str, int]]:
    assert isinstance(evaluations.scorer, Counting)
    return evaluations.scorer.asked


def failing(
    evaluations: Evaluations, fail: Callable[[Policy, int], Exception | None]
) -> Evaluations:
    assert isinstance(evaluations.scorer, Counting)
    return replace(evaluations, scorer=replace(evaluations.scorer, fail=fail))


# --- scores


def test_a_policy_is_scored_once(evaluations: Evaluations) -> None:
    first = evaluations.score(POLICIES[0])
    assert first.outcome == "scored"
    assert evaluations.score(Policy.from_json(POLICIES[0].to_json())) == first
    assert asked(evaluations) == [(POLICIES[0].fingerprint, 1)]


@pytest.fixture
def shared(evaluations: Evaluations, tmp_path: Path) -> Iterator[Evaluations]:
    """Return the evaluations of a run that shares a database with others."""
    with Database.open(sqlite_url(tmp_path / "shared.db")) as database:
        yield replace(evaluations, shared=database)


def elsewhere(shared: Evaluations, folder: Path) -> Evaluations:
    """Return those of another run that shares it."""
    own = Database.open(sqlite_url(folder / "other.db"))
    number = own.start_run("other", {}, "model", "data")
    return replace(shared, database=own, run_id=number, folder=folder)


def test_what_one_run_scored_costs_others_nothing(shared: Evaluations, tmp_path: Path) -> None:
    found = shared.score(POLICIES[0])
    other = elsewhere(shared, tmp_path)
    again = other.score(POLICIES[0])
    assert asked(shared) == [(POLICIES[0].fingerprint, 1)], "they have one scorer"
    assert again == replace(found, sample_forwards=0.0, seconds=0.0)
    assert other.database.evaluations(other.run_id) == [again], "it is that run's own, too"
    replace(other, scorer=replace(shared.scorer, seed=1)).score(POLICIES[0])
    assert len(asked(shared)) == 2, "another seed is another score"
    other.database.close()


def test_several_are_stored_and_found_at_once(shared: Evaluations, tmp_path: Path) -> None:
    found = [Evaluation(policy, "scored", 0.5, 0.5, 3.0, 1.0) for policy in POLICIES[:4]]
    failed = replace(found[2], outcome="failed: no number", loss=None, score=None)
    stopped = replace(found[3], outcome="stopped: early stop", loss=None, score=None)
    first = replace(found[0], seconds=9.0)
    assert shared.keep(first) == first
    every = [*found[:2], failed, stopped]
    assert shared.keep_all(every) == [first, *every[1:]], "the first to come to the end counts"
    known = shared.known_all([(policy, lambda stages: None) for policy in POLICIES])
    assert [known.get(policy) for policy in POLICIES[:4]] == [first, *every[1:3], None]
    assert set(known) == set(POLICIES[:3]), "what nothing stops any more is scored anew"
    other = elsewhere(shared, tmp_path)
    theirs = other.known_all([(policy, None) for policy in POLICIES])
    assert set(theirs) == {POLICIES[at] for at in (0, 1, 3)}, "what failed is tried again"
    assert {one.sample_forwards for one in theirs.values()} == {0.0}
    assert len(other.database.evaluations(other.run_id)) == 3
    again = replace(stopped, outcome="scored", loss=0.4, score=0.4)
    assert shared.keep_all([again]) == [again], "what was stopped gives way"
    other.database.close()


def test_what_failed_in_one_run_is_tried_in_another(shared: Evaluations, tmp_path: Path) -> None:
    failing(shared, lambda policy, steps: CandidateError("It diverged.")).score(POLICIES[0])
    other = elsewhere(shared, tmp_path)
    assert other.score(POLICIES[0]).outcome == "scored"
    other.database.close()


@pytest.mark.parametrize("change", ["model_fp", "data_fp"])
def test_a_score_counts_for_its_model_and_data_only(evaluations: Evaluations, change: str) -> None:
    evaluations.score(POLICIES[0])
    replace(evaluations, **{change: "other"}).score(POLICIES[0])  # type: ignore[arg-type]
    assert len(asked(evaluations)) == 2


@pytest.mark.parametrize(
    "error",
    [
        CandidateError("The training loss became nan."),
        AssertionError("wrong width"),
        TypeError("no overload"),
        ZeroDivisionError(),
    ],
)
def test_a_candidate_that_raises_fails_and_is_not_tried_again(
    evaluations: Evaluations, error: Exception
) -> None:
    broken = failing(evaluations, lambda policy, steps: error)
    found = broken.score(POLICIES[0])
    assert found.outcome.startswith(f"failed: {type(error).__name__}")
    assert str(error).rstrip(".") in found.outcome
    assert (found.loss, found.quality) == (None, None)
    assert evaluations.score(POLICIES[0]) == found


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("too large"), MemoryError()])
def test_memory_that_runs_out_is_not_the_policys_fault(
    evaluations: Evaluations, error: Exception
) -> None:
    with pytest.raises(ModelError, match=r"Memory ran out.*Lower the batch size"):
        failing(evaluations, lambda policy, steps: error).score(POLICIES[0])
    assert evaluations.score(POLICIES[0]).loss is not None, "it is tried again"


def test_what_the_user_can_mend_stops_the_search(evaluations: Evaluations) -> None:
    broken = failing(evaluations, lambda policy, steps: DataError("no images"))
    with pytest.raises(DataError, match="no images"):
        broken.score(POLICIES[0])
    assert evaluations.score(POLICIES[0]).outcome == "scored"  # nothing was stored


# --- finalists


def test_a_finalist_is_recovered_once(evaluations: Evaluations, tmp_path: Path) -> None:
    model, found = evaluations.finalist(POLICIES[0]).finish()
    assert found.outcome == "recovered"
    assert asked(evaluations) == 2 * [(POLICIES[0].fingerprint, 2)], "trained, and as it was cut"
    again, stored = evaluations.finalist(POLICIES[0]).finish()
    assert stored == found
    assert len(asked(evaluations)) == 2
    assert not again.training
    ours, theirs = model.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("harm", ["alter", "delete"])
def test_a_finalist_whose_weights_are_not_as_recorded_is_recovered_again(
    evaluations: Evaluations, tmp_path: Path, harm: str
) -> None:
    found = evaluations.finalist(POLICIES[0]).finish()[1]
    path = tmp_path / str(found.weights)
    path.write_bytes(b"x" + path.read_bytes()[1:]) if harm == "alter" else path.unlink()
    again = evaluations.finalist(POLICIES[0]).finish()[1]
    assert len(asked(evaluations)) == 4
    assert (again.loss, again.weights_sha256) == (found.loss, found.weights_sha256)


def trained(evaluations: Evaluations) -> list[Evaluation]:
    """Return what is kept of the finalists, in the order of their policies."""
    known = (evaluations.finalist(policy).known for policy in POLICIES)
    return [one for one in known if one is not None]


def test_the_best_by_quality_then_loss_wins(evaluations: Evaluations) -> None:
    events: list[Progress] = []
    ranked = [evaluations.score(policy) for policy in POLICIES[:3]]
    model, winner = recover_finalists(ranked, evaluations, events.append)
    found = trained(evaluations)
    assert [one.policy for one in found] == POLICIES[:2]
    halfway = [one.stages[0] for one in found]
    best = max(range(2), key=lambda at: (halfway[at].quality or 0, -halfway[at].value))
    assert winner == found[best]
    kept = evaluations.scorer.kept(winner.policy)["stem"]
    assert model.get_parameter("stem.weight").shape[0] == kept
    assert [(event.stage, event.done, event.total) for event in events] == [
        ("recover", at, 3) for at in (1, 2, 3)
    ]


@pytest.mark.parametrize("error", [CandidateError("It diverged."), AssertionError("odd width")])
def test_a_finalist_that_fails_is_replaced_by_the_next(
    evaluations: Evaluations, error: Exception
) -> None:
    ranked = [evaluations.score(policy) for policy in POLICIES[:4]]
    bad = POLICIES[1]
    broken = failing(evaluations, lambda policy, steps: error if policy == bad else None)
    recover_finalists(ranked, broken, silent)
    assert [found.policy for found in trained(broken)] == [POLICIES[0], POLICIES[2]]


def test_where_all_finalists_fail_the_user_is_told(evaluations: Evaluations) -> None:
    ranked = [evaluations.score(policy) for policy in POLICIES[:3]]
    broken = failing(evaluations, lambda policy, steps: CandidateError("It diverged."))
    with pytest.raises(ModelError, match=r"None of the 3 .* It diverged\. .*learning_rate"):
        recover_finalists(ranked, broken, silent)


def test_a_finalist_that_is_not_accepted_is_replaced_by_the_next(
    evaluations: Evaluations,
) -> None:
    ranked = [evaluations.score(policy) for policy in POLICIES[:4]]
    refused = POLICIES[:3]
    winner = recover_finalists(
        ranked, evaluations, silent, lambda found, model: found.policy not in refused
    )[1]
    assert winner.policy == POLICIES[3]
    assert [one.policy for one in trained(evaluations)] == [POLICIES[at] for at in (0, 1, 2, 3)]


def test_where_no_finalist_is_accepted_the_limit_is_named(evaluations: Evaluations) -> None:
    ranked = [evaluations.score(policy) for policy in POLICIES[:2]]
    with pytest.raises(BudgetError, match=r"missed a limit .* once more.*resume"):
        recover_finalists(ranked, evaluations, silent, lambda found, model: False)


# --- the loop


@pytest.fixture
def make_loop(
    evaluations: Evaluations, cost: CostModel, spaces: dict[str, UnitSpace]
) -> Iterator[Callable[..., Loop]]:
    projection = Projection(cost, spaces, Budget.parse("macs=60%"))
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = ProjectedSampler(projection, 0)
    study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.NopPruner())

    def make(evaluations: Evaluations = evaluations, trials: int = 5, **more: object) -> Loop:
        given = {"timeout": None, "progress": silent} | more
        return Loop(
            study=study,
            sampler=sampler,
            evaluations=evaluations,
            crew=Crew(Inline(ScoreWork(evaluations.scorer))),
            rollback=Rollback(Ledger(evaluations.database, evaluations.run_id), projection),
            trials=trials,
            **given,  # type: ignore[arg-type]
        )

    yield make
    optuna.logging.set_verbosity(before)


def test_the_loop_scores_and_tells_everything_it_asked_for(
    make_loop: Callable[..., Loop],
) -> None:
    events: list[Progress] = []
    loop = make_loop(progress=events.append)
    ranked = loop.run()
    assert [trial.state for trial in loop.study.trials] == [TrialState.COMPLETE] * 5
    assert [e.score for e in ranked] == sorted(trial.value or 0 for trial in loop.study.trials)
    assert [event.done for event in events] == [0, 1, 2, 3, 4, 5]
    assert events[-1].best_loss == ranked[0].loss
    assert 0 < (events[-1].feasible_macs or 0) <= 0.6
    for trial in loop.study.trials:
        assert trial.user_attrs["outcome"] == "scored"
        assert trial.user_attrs["costs"]["macs"] <= 0.6 * loop.projection.cost.dense.macs


def test_a_loop_goes_on_where_another_ended(make_loop: Callable[..., Loop]) -> None:
    first = make_loop(trials=2)
    first.run()
    second = make_loop(trials=4)
    second.run()
    assert len(asked(second.evaluations)) == 4
    assert second.scored.items() >= first.scored.items()
    assert make_loop(trials=3).run() == second.ranked()  # nothing left to do


def test_what_a_session_goes_on_from_is_told_once(make_loop: Callable[..., Loop]) -> None:
    events: list[Progress] = []
    make_loop(trials=2, progress=events.append).run()
    assert [event.note for event in events if event.note] == []
    loop = make_loop(trials=3, progress=events.append)
    loop.run()
    loop.trials = 4
    loop.run()
    replace(loop, trials=5).run()
    notes = [event.note for event in events if event.note]
    assert notes == ["goes on from 2 evaluations that were kept"]


def test_earlier_policies_that_another_version_scored_are_scored_again_in_sight(
    make_loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_loop(trials=2)
    first.run()
    monkeypatch.setattr(way, "EVALUATOR_VERSION", way.EVALUATOR_VERSION + 1)
    events: list[Progress] = []
    second = make_loop(trials=3, progress=events.append, evaluations=replace(first.evaluations))
    second.run()
    assert len(asked(second.evaluations)) == 2 + 2 + 1
    again = "scores 2 earlier policies again: no score by this version of autoprune is stored"
    assert [(event.done, event.note) for event in events][:4] == [
        (0, again),
        (1, None),
        (2, None),
        (2, "goes on from 2 evaluations that were kept"),
    ]


def test_trials_are_told_their_places_whatever_died_in_between(
    make_loop: Callable[..., Loop],
) -> None:
    make_loop(trials=2).run()
    loop = make_loop(trials=4)
    loop.study.ask()  # its process died
    loop.run()
    assert [place_of(trial) for trial in loop.study.trials] == [1, 2, 0, 3, 4]
    assert loop.study.trials[2].user_attrs["outcome"] == "abandoned"


def test_what_an_agent_gave_back_that_took_us_for_dead_does_not_end_the_loop(
    make_loop: Callable[..., Loop],
) -> None:
    loop = make_loop(trials=3)
    loop.run()
    trial, params = ask(loop.study, loop.sampler)
    policy = policy_of(params, loop.projection.spaces)
    abandon(trial)  # by the other agent
    found = loop.evaluations.score(policy)  # by us, after all
    loop.scored[policy.fingerprint] = found
    loop.trials = 6
    assert len(loop.run()) == 6
    again = loop.study.trials[trial.number + 1]
    assert (again.params, again.state) == (trial.params, TrialState.COMPLETE)
    assert again.value == found.score


def test_failed_candidates_count_and_the_loop_goes_on(
    make_loop: Callable[..., Loop], evaluations: Evaluations
) -> None:
    calls = iter([CandidateError("nan"), None, RuntimeError("x"), None, None])
    loop = make_loop(failing(evaluations, lambda policy, steps: next(calls)))
    assert len(loop.run()) == 3
    states = [trial.state.name for trial in loop.study.trials]
    assert states == ["FAIL", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_where_all_candidates_fail_the_first_reason_is_told(
    make_loop: Callable[..., Loop], evaluations: Evaluations
) -> None:
    loop = make_loop(failing(evaluations, lambda p, steps: AssertionError("odd width")), trials=2)
    with pytest.raises(ModelError, match=r"None of 2 .* failed: AssertionError: odd width"):
        loop.run()


def test_without_time_one_candidate_is_scored(
    make_loop: Callable[..., Loop], evaluations: Evaluations
) -> None:
    assert len(make_loop(timeout=0.0).run()) == 1
    assert len(make_loop(timeout=0.0).run()) == 1  # a later session adds none
    assert len(asked(evaluations)) == 1


def test_a_space_that_is_used_up_ends_the_loop(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(trials=10_000)
    loop.run()
    ended = [trial for trial in loop.study.trials if trial.state == TrialState.COMPLETE]
    assert 4 <= len(ended) == len(loop.scored) < 64
    assert loop.study.trials[-1].user_attrs["outcome"] == "abandoned"


class Other(Alone):
    """Another agent, which scores the last policies until it was looked at three times."""

    name: str = "me"
    look: Any = 0.001
    looks: ClassVar[list[bool]] = []

    def running(self, study: optuna.Study, mine: Container[int]) -> tuple[list[Trial], int]:
        self.looks.append(study.user_attrs.get("exhausted", False))
        return [], int(sum(self.looks) < 3)


def test_with_nothing_left_to_propose_it_waits_for_what_others_score(
    make_loop: Callable[..., Loop],
) -> None:
    loop = make_loop(trials=10_000, company=Other(), progress=lambda event: note(event))

    def note(event: Progress) -> None:
        if event.note and "no policy left" in event.note:
            loop.study.set_user_attr("exhausted", True)

    Other.looks.clear()
    loop.run()
    assert sum(Other.looks) == 3


def test_it_does_not_wait_for_others_when_the_time_is_over(
    make_loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Other, "running", lambda self, study, mine: ([], 1))  # it never ends
    loop = make_loop(trials=10_000, company=Other(), timeout=3.0)
    assert loop.run()


class Many(Inline[Scoring, Evaluation]):
    """Several workers, who end in another order than they begin."""

    size = 4

    def wait(self, timeout: float | None = None) -> list[Done[Evaluation]]:
        jobs = [self._jobs.pop() for _ in range(min(2, len(self._jobs)))]
        return [Done(ticket, self._work(job)) for ticket, job in jobs]


def test_several_workers_score_each_policy_once(make_loop: Callable[..., Loop]) -> None:
    events: list[Progress] = []
    loop = make_loop(trials=7, progress=events.append)
    loop = replace(loop, crew=Crew(Many(ScoreWork(loop.evaluations.scorer))))
    assert len(loop.run()) == 7
    assert len({name for name, _ in asked(loop.evaluations)}) == len(asked(loop.evaluations)) == 7
    assert [trial.state for trial in loop.study.trials] == [TrialState.COMPLETE] * 7
    assert [event.done for event in events] == [0, 2, 4, 6, 7]


class Full(Many):
    """Four workers, of whom one is out of memory, then two more while another one ends well."""

    def wait(self, timeout: float | None = None) -> list[Done[Evaluation]]:
        first, *others = self._jobs
        full = OutOfMemoryError("Memory ran out.")
        if len(others) == 3:
            self._jobs.popleft()
            return [Done(first[0], None, raised=full)]
        self._jobs.clear()
        failed: list[Done[Evaluation]] = [Done(one, None, raised=full) for one, _ in others]
        return [*failed, Done(first[0], self._work(first[1]))]


def test_where_one_is_out_of_memory_what_others_score_meanwhile_is_kept(
    make_loop: Callable[..., Loop],
) -> None:
    loop = make_loop(trials=7)
    crew = Crew[Scoring, Evaluation](Full(ScoreWork(loop.evaluations.scorer)))
    loop = replace(loop, crew=crew)
    with pytest.raises(OutOfMemoryError):
        loop.run()
    assert crew.busy == 0, "another limit may be searched by them"
    states = [trial.state for trial in loop.study.trials]
    assert states == [TrialState.FAIL, TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]
    assert len(loop.scored) == 1
    crew = Crew[Scoring, Evaluation](Many(ScoreWork(loop.evaluations.scorer)))
    assert len(replace(loop, crew=crew).run()) == 7
