"""Rollback in the loop: what is examined is judged, kept in the ledger, and learnt from."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from torch import nn

from autoprune.agent.evaluating.evaluations import Evaluations
from autoprune.agent.evaluating.scoring import ScoreWork
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.loop.loop import Loop
from autoprune.agent.loop.trials import Told, tell_all
from autoprune.agent.rollback.rollback import Rollback
from autoprune.agent.samplers.attributes import EXAMINES, REGRET
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.agent.samplers.names import check_rollback
from autoprune.core.budget import Budget
from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.core.progress import silent
from autoprune.core.recovery import Recovery
from autoprune.core.workers import Crew, Inline
from autoprune.cost.model import CostModel
from autoprune.errors import ConfigError
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.space.schema import SearchSpace
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.ledger import Ledger
from autoprune.storage.study import close_study, open_study
from autoprune.surgery.plan import Plan
from autoprune.tasks import Classification

TRIALS = 16


@pytest.fixture
def make(
    net: nn.Module, plan: Plan, cost: CostModel, task: Classification, tmp_path: Path
) -> Iterator[Callable[..., Loop]]:
    """Return what opens a loop on the database of a name."""
    methods = ["channel.l1", "channel.l2", "channel.random"]
    space = SearchSpace.model_validate(
        {"methods": methods, "sparsities": [at / 12 for at in range(1, 11)], "step": 1}
    )
    spaces = space.resolve({name: unit.atoms for name, unit in plan.units.items()})
    projection = Projection(cost, spaces, Budget.parse("macs=60%"))
    importance = rank_atoms(net, plan, task, methods, 1, "cpu")
    recovery = Recovery(score_steps=1, calibration_batches=1, learning_rate=0.1, stages=())
    scorer = Scorer(net, plan, importance, cost, task, recovery, seed=0, device="cpu")
    opened: list[tuple[Database, optuna.Study]] = []

    def make(name: str, trials: int = TRIALS) -> Loop:
        url = sqlite_url(tmp_path / f"{name}.db")
        database, sampler = Database.open(url), BudgetedSampler(projection, 0, rollback=0.5)
        run = database.find_run("run")
        number = run.id if run else database.start_run("run", {}, "m", "d")
        study = open_study(url, "s", sampler=sampler)
        opened.append((database, study))
        keys: dict[str, Any] = {"model_fp": "m", "data_fp": "d", "folder": tmp_path}
        return Loop(
            study=study,
            sampler=sampler,
            evaluations=Evaluations(database=database, run_id=number, scorer=scorer, **keys),
            crew=Crew(Inline(ScoreWork(scorer))),
            rollback=Rollback(Ledger(database, number), projection),
            trials=trials,
            timeout=None,
            progress=silent,
        )

    yield make
    for database, study in opened:
        close_study(study)
        database.close()


def entries(loop: Loop) -> list[LedgerEntry]:
    return loop.rollback.ledger.entries()


def examining(loop: Loop) -> list[optuna.trial.FrozenTrial]:
    return [one for one in loop.study.trials if EXAMINES in one.user_attrs]


def test_each_alternative_is_judged_against_the_policy_that_decided(
    make: Callable[..., Loop],
) -> None:
    loop = make("a")
    loop.run()
    found = entries(loop)
    assert 3 <= len(found) == len(examining(loop)) <= TRIALS / 2
    for entry, trial in zip(found, examining(loop), strict=True):
        before = loop.scored[entry.policy.fingerprint]
        after = loop.scored[entry.alternative.fingerprint]
        assert (entry.score_before, entry.score_after) == (before.score, after.score)
        assert (entry.quality_before, entry.quality_after) == (before.quality, after.quality)
        assert entry.costs_after["macs"] <= 0.6 * loop.projection.cost.dense.macs
        assert entry.costs_after["macs"] <= entry.costs_before["macs"] / 0.95
        assert trial.user_attrs[REGRET]["outcome"] == entry.outcome.value
        assert trial.user_attrs[REGRET]["reverted"] == (entry.outcome is Outcome.REVERTED)
        assert any(entry.policy.get(u) != entry.alternative.get(u) for u in entry.units)
        assert entry.expected_regret is not None


@pytest.mark.parametrize("place", ["before the ledger", "after the ledger", "before it is told"])
def test_killed_again_and_again_a_loop_keeps_the_same_ledger(
    make: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    whole = make("whole")
    whole.run()
    killed = 0
    for _ in range(3 * TRIALS):
        loop = make("killed")
        with monkeypatch.context() as patch:
            _arm(patch, loop, place)
            try:
                loop.run()
                break
            except KeyboardInterrupt:
                killed += 1
        if killed % 2:  # every second session gets through what killed the one before
            loop = make("killed", trials=min(len(loop.scored) + 1, TRIALS))
            loop.run()
    assert killed >= 2
    assert entries(loop) == entries(whole)
    assert list(loop.scored) == list(whole.scored)


def _arm(patch: pytest.MonkeyPatch, loop: Loop, place: str) -> None:
    """Have the session die at its first alternative."""
    add = Ledger.add_all

    def dying(self: Ledger, found: Sequence[LedgerEntry]) -> None:
        if all(entry in self.entries() for entry in found):
            return  # of an earlier session
        if place == "after the ledger":
            add(self, found)
        raise KeyboardInterrupt

    def untold(told: Sequence[Told]) -> None:
        if any(EXAMINES in one.trial.user_attrs for one in told):
            raise KeyboardInterrupt
        tell_all(told)

    if place == "before it is told":
        patch.setattr("autoprune.agent.loop.loop.tell_all", untold)
    else:
        patch.setattr(Ledger, "add_all", dying)


def test_what_failed_is_in_the_ledger_too(
    make: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = make("a")
    score = Scorer.score

    def failing(self: Scorer, policy: Any, steps: int, watch: Any = None) -> Any:
        if any(
            EXAMINES in t.user_attrs for t in loop.study.get_trials(states=(TrialState.RUNNING,))
        ):
            raise RuntimeError("odd width")
        return score(self, policy, steps, watch)

    monkeypatch.setattr(Scorer, "score", failing)
    loop.run()
    assert {entry.outcome for entry in entries(loop)} == {Outcome.FAILED}
    assert all(entry.regret is None for entry in entries(loop))


@pytest.mark.parametrize("name", ["tpe", "spdy", "uniform"])
def test_a_share_chosen_for_a_sampler_that_examines_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"rollback is 0.3.*{name}.*Leave it out.*budgeted"):
        check_rollback(name, 0.3)
    check_rollback(name, 0.0)
    check_rollback("budgeted", 0.3)
