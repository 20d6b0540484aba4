"""What another run scores at this moment is not scored here: it is waited for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import optuna
import pytest
from optuna.exceptions import StorageInternalError

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.scoring import Scoring
from autoprune.agent.housing.company import Alone
from autoprune.agent.loop import underway
from autoprune.agent.loop.underway import Underway
from autoprune.core.policy import Choice, Policy
from autoprune.core.recovery import Recovery
from autoprune.core.workers import Crew, Done, Inline
from autoprune.errors import DataError, InfrastructureError
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.storage.records import Evaluation

ONE, TWO = (Policy({"stem": Choice("channel.l1", at)}) for at in (0.25, 0.5))


@dataclass
class Taken(Alone):
    """Another run has these leases."""

    leases: set[str] = field(default_factory=set)
    given_back: list[str] = field(default_factory=list)

    def take(self, leases: Sequence[str]) -> set[str]:
        return set(leases) - self.leases

    def give_back(self, leases: Sequence[str]) -> None:
        self.given_back += leases


def result(policy: Policy) -> Evaluation:
    return Evaluation(policy, "scored", 1.0, 0.5, 1.0, 1.0)


@pytest.fixture
def evaluations(
    scorer_of: Callable[[Recovery], Scorer], evaluations_by: Callable[[Scorer], Evaluations]
) -> Evaluations:
    return evaluations_by(scorer_of(Recovery()))


@pytest.fixture
def trials() -> list[optuna.Trial]:
    study = optuna.create_study()
    return [study.ask() for _ in range(4)]


def no_watch(stages: object) -> None:
    return None


def noting(scored: list[Policy]) -> Callable[[Scoring], Evaluation]:
    """Return what scores policies, and notes which."""

    def work(job: Scoring) -> Evaluation:
        scored.append(job.policy)
        return result(job.policy)

    return work


def test_what_another_run_scores_is_waited_for(
    evaluations: Evaluations, trials: list[optuna.Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(underway, "_WAIT", 0.0)
    scored: list[Policy] = []

    company = Taken(leases={evaluations.lease(ONE)})
    found = Underway(Crew(Inline(noting(scored))), evaluations, company)
    found.begin([(trials[0], Scoring(ONE, no_watch))])
    assert ONE in found
    assert found.room == 0, "it takes the place of a worker"
    assert list(found.ended(None)) == []
    evaluations.keep(result(ONE))  # the other run is done
    assert [(t.number, e.policy) for lot in found.ended(None) for t, e in lot] == [(0, ONE)]
    assert scored == []
    assert company.given_back == []


def test_what_another_run_gives_up_is_scored_here(
    evaluations: Evaluations, trials: list[optuna.Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(underway, "_WAIT", 0.0)
    company = Taken(leases={evaluations.lease(ONE)})
    found = Underway(Crew(Inline(lambda job: result(job.policy))), evaluations, company)
    found.begin([(trials[0], Scoring(ONE, no_watch))])
    company.leases.clear()
    assert list(found.ended(None)) == []  # it is given to a worker now
    assert [e.policy for lot in found.ended(None) for _, e in lot] == [ONE]
    assert company.given_back == [evaluations.lease(ONE)]


class Mortal(Inline[Scoring, Evaluation]):
    """Dies of every policy but some."""

    def __init__(self, harmless: set[Policy]) -> None:
        super().__init__(lambda job: result(job.policy))
        self.harmless = harmless

    def wait(self, timeout: float | None = None) -> list[Done[Evaluation]]:
        ticket, job = self._jobs.popleft()
        if job.policy in self.harmless:
            return [Done(ticket, result(job.policy))]
        return [Done(ticket, None, lost="ended by signal 9")]


def _ended(found: Underway) -> list[Evaluation]:
    ended: list[Evaluation] = []
    while found:
        ended += [one for lot in found.ended(None) for _, one in lot]
    return ended


def test_a_policy_that_kills_its_workers_fails_and_others_are_scored(
    evaluations: Evaluations, trials: list[optuna.Trial]
) -> None:
    found = Underway(Crew(Mortal({TWO})), evaluations, Alone())
    found.begin([(trials[0], Scoring(ONE, no_watch))])
    (failed,) = _ended(found)
    assert failed.outcome == "failed: it cost 3 workers, the last ended by signal 9"
    found.begin([(trials[1], Scoring(TWO, no_watch))])
    assert [one.outcome for one in _ended(found)] == ["scored"]


def test_where_every_policy_kills_its_workers_they_are_to_blame(
    evaluations: Evaluations, trials: list[optuna.Trial]
) -> None:
    found = Underway(Crew(Mortal(set())), evaluations, Alone())
    policies = [Policy({"stem": Choice("channel.l1", at / 8)}) for at in (1, 2, 3)]
    for trial, policy in zip(trials, policies[:2], strict=False):
        found.begin([(trial, Scoring(policy, no_watch))])
        _ended(found)
    found.begin([(trials[2], Scoring(policies[2], no_watch))])
    with pytest.raises(InfrastructureError, match=r"last 3 policies each cost 3 workers"):
        _ended(found)


def test_what_cost_its_workers_has_failed_once_another_policy_comes_back(
    evaluations: Evaluations, trials: list[optuna.Trial]
) -> None:
    found = Underway(Crew(Mortal({TWO})), evaluations, Alone())
    found.begin([(trials[0], Scoring(ONE, no_watch))])
    assert [list(found.ended(None)) for _ in range(3)] == [[], [], []]
    found.begin([(trials[1], Scoring(TWO, no_watch))])
    (lot,) = found.ended(None)
    assert [(trial.number, one.outcome.split(":")[0]) for trial, one in lot] == [
        (0, "failed"),
        (1, "scored"),
    ]


def test_where_workers_never_live_no_policy_has_failed(
    evaluations: Evaluations, trials: list[optuna.Trial]
) -> None:
    found = Underway(Crew(Mortal(set())), evaluations, Alone())
    policies = [Policy({"stem": Choice("channel.l1", at / 8)}) for at in (1, 2, 3)]
    for trial, policy in zip(trials, policies[:2], strict=False):
        found.begin([(trial, Scoring(policy, no_watch))])
        assert [list(found.ended(None)) for _ in range(3)] == [[], [], []]
    found.begin([(trials[2], Scoring(policies[2], no_watch))])
    with pytest.raises(InfrastructureError, match=r"last 3 policies each cost 3 workers"):
        _ended(found)
    found.abandon()
    assert evaluations.known_all([(policy, None) for policy in policies]) == {}
    outcomes = [trial.user_attrs.get("outcome") for trial in trials[0].study.trials[:3]]
    assert outcomes == ["abandoned"] * 3, "they are proposed again"


class Broken(Inline[Scoring, Evaluation]):
    """Hands over all that it has; the last job raises."""

    size = 3

    def wait(self, timeout: float | None = None) -> list[Done[Evaluation]]:
        *fine, last = self._jobs
        self._jobs.clear()
        done = [Done(ticket, result(job.policy)) for ticket, job in fine]
        return [*done, Done(last[0], None, raised=DataError("no images"))]


def test_what_ended_together_is_kept_before_a_problem_is_told(
    evaluations: Evaluations, trials: list[optuna.Trial]
) -> None:
    policies = [Policy({"stem": Choice("channel.l1", at / 8)}) for at in (1, 2, 3)]
    company = Taken()
    found = Underway(Crew(Broken(lambda job: result(job.policy))), evaluations, company)
    jobs = [Scoring(policy, no_watch) for policy in policies]
    found.begin(list(zip(trials, jobs, strict=False)))
    assert (found.room, len(found)) == (0, 3)
    lots = found.ended(None)
    assert [(t.number, e.policy) for t, e in next(lots)] == [(0, policies[0]), (1, policies[1])]
    known = evaluations.known_all([(policy, None) for policy in policies])
    assert set(known) == set(policies[:2]), "they are stored by then"
    assert company.given_back == [evaluations.lease(policy) for policy in policies[:2]]
    with pytest.raises(DataError, match="no images"):
        next(lots)
    assert (found.numbers, policies[2] in found, policies[0] in found) == ({2}, True, False)


def test_of_several_those_that_others_score_wait(
    evaluations: Evaluations, trials: list[optuna.Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(underway, "_WAIT", 0.0)
    company = Taken(leases={evaluations.lease(ONE)})
    crew: Crew[Scoring, Evaluation] = Crew(Inline(lambda job: result(job.policy)))
    found = Underway(crew, evaluations, company)
    found.begin([(trials[0], Scoring(ONE, no_watch)), (trials[1], Scoring(TWO, no_watch))])
    assert crew.busy == 1
    assert [e.policy for lot in found.ended(None) for _, e in lot] == [TWO]
    assert found.numbers == {0}
    found.abandon()
    assert (len(found), found.room) == (0, 1)
    assert company.given_back == [evaluations.lease(TWO), evaluations.lease(ONE)]


def test_what_another_run_stored_just_before_its_lease_was_free_is_not_scored(
    evaluations: Evaluations, trials: list[optuna.Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(underway, "_WAIT", 0.0)
    scored: list[Policy] = []

    company = Taken()
    found = Underway(Crew(Inline(noting(scored))), evaluations, company)
    evaluations.keep(result(ONE))  # after it was looked up, before its lease is taken
    found.begin([(trials[0], Scoring(ONE, no_watch)), (trials[1], Scoring(TWO, no_watch))])
    ended = [one for _ in range(3) for lot in found.ended(None) for one in lot]
    assert {one.policy for _, one in ended} == {ONE, TWO}
    assert scored == [TWO]
    assert company.given_back[0] == evaluations.lease(ONE)


def test_giving_trials_back_to_a_server_that_is_gone_hides_no_error(
    evaluations: Evaluations, trials: list[optuna.Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def gone(trial: optuna.Trial) -> None:
        tried.append(trial.number)
        raise StorageInternalError("The server left.")

    monkeypatch.setattr(underway, "abandon", gone)
    company = Taken()
    found = Underway(Crew(Inline(lambda job: result(job.policy))), evaluations, company)
    found.begin([(trials[0], Scoring(ONE, no_watch)), (trials[1], Scoring(TWO, no_watch))])
    with pytest.raises(DataError, match="no images"):
        _leave(found, DataError("no images"))
    assert (tried, len(found)) == ([0, 1], 0)
    assert company.given_back == [evaluations.lease(ONE), evaluations.lease(TWO)]


def _leave(found: Underway, problem: Exception) -> None:
    try:
        raise problem
    finally:
        found.abandon()
