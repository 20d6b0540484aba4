"""The predictor's gate, what it spares, and the share that is proposed to audit it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.feasible.rows import Feasible
from autoprune.agent.loop.trials import reliability
from autoprune.agent.samplers.belief import Belief
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.predictor.prequential import Screening
from autoprune.testing.chains import chain

pytestmark = pytest.mark.usefixtures("quiet_optuna")

PROJECTION = chain({f"u{at}": range(24, 3, -4) for at in range(6)}, "macs=40%")
WEIGHTS = np.array([1.0, 10.0, 1.0, 3.0, 1.0, 1.0])


def a_sampler(**options: Any) -> BudgetedSampler:
    return BudgetedSampler(PROJECTION, 0, **{"rollback": 0.0, **options})


def score(sampler: BudgetedSampler, row: Rows) -> float:
    return float(1 + (sampler.encoding.removed(row) ** 2) @ WEIGHTS)


def add(study: optuna.Study, sampler: BudgetedSampler, row: Rows, said: Mapping[str, Any]) -> None:
    params, value = sampler.encoding.params(row), score(sampler, row)
    study.add_trial(
        optuna.create_trial(
            params=params, distributions=sampler.space, value=value, user_attrs=dict(said)
        )
    )


def scored(sampler: BudgetedSampler, order: float, count: int = 20) -> optuna.Study:
    """Return a study whose predictions ranked its scores as they are, or the other way round."""
    study = optuna.create_study(sampler=sampler)
    for row in np.unique(sampler.pool.random(np.random.default_rng(0), 40), axis=0)[:count]:
        at = order * score(sampler, row)
        add(study, sampler, row, {"predicted": {"expected": at, "low": at - 99, "high": at + 99}})
    return study


def test_below_the_gate_predictions_are_recorded_and_decide_nothing() -> None:
    sampler, without = a_sampler(), a_sampler(predicts=False)
    study = scored(sampler, order=-1.0)
    found, plain = sampler.propose(study), without.propose(study)
    assert np.array_equal(found.row, plain.row)
    assert found.screening is None
    assert found.expected is not None
    assert found.record is not None
    assert found.record.spearman == pytest.approx(-1)


def test_above_the_gate_they_decide() -> None:
    sampler, without = a_sampler(exploration=0.0), a_sampler(predicts=False)
    study = scored(sampler, order=1.0)
    found, plain = sampler.propose(study), without.propose(study)
    assert found.screening is not None
    assert score(sampler, found.row) < score(sampler, plain.row)


def test_too_few_predictions_do_not_close_the_gate() -> None:
    sampler = a_sampler()
    assert sampler.propose(scored(sampler, order=-1.0, count=7)).screening is not None
    assert sampler.propose(scored(sampler, order=-1.0, count=8)).screening is None


def test_what_is_spared_cannot_beat_the_best_as_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = a_sampler(exploration=0.0)
    study = scored(sampler, order=1.0)
    best = study.best_value

    def told(lows: list[float]) -> int:
        def intervals(_: Belief, rows: Rows) -> Any:
            some = np.resize(lows, len(rows))
            return np.stack([some + 1, some, some + 2], axis=1)

        monkeypatch.setattr(Belief, "intervals", intervals)
        screening = sampler.propose(study).screening
        assert screening is not None
        assert screening.incumbent == best
        assert not screening.audit
        return screening.spared

    assert told([best + 1, best + 2, best, best + 1]) == 2
    assert told([best - 1]) == 0
    assert told([best + 1]) > 8, "where all are hopeless, all that were looked at are spared"


def test_where_nothing_was_scored_inside_the_budget_nothing_is_spared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As at a limit of a front so far only met by failures: larger models are none to beat."""
    sampler = a_sampler(exploration=0.0)
    study = scored(sampler, order=1.0)
    monkeypatch.setattr(Feasible, "meets", lambda _, rows: np.zeros(len(rows), bool))
    monkeypatch.setattr(Belief, "intervals", lambda _, rows: np.full((len(rows), 3), 1e9))
    proposal = sampler.propose(study)
    assert proposal.screening == Screening(None, spared=0, audit=False)
    add(study, sampler, proposal.row, proposal.attributes)
    assert reliability(study).spared == 0


def test_audits_are_what_is_drawn_without_predictions() -> None:
    sampler, audits = a_sampler(exploration=0.3), 0
    study = scored(sampler, order=1.0)
    for _ in range(20):
        proposal = sampler.propose(study)
        assert proposal.screening is not None
        if proposal.screening.audit:
            audits += 1
            assert proposal.screening.spared == 0
        add(study, sampler, proposal.row, proposal.attributes)
    found = reliability(study)
    assert 2 <= audits <= 11
    assert found.ranked == 20 - audits
    assert found.wrong <= found.audited <= audits
    assert found.spared > 0
    assert found.count == 40


def test_a_plain_study_keeps_what_is_predicted() -> None:
    sampler = a_sampler()
    study = optuna.create_study(sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        for name, one in sampler.space.items():
            trial._suggest(name, one)
        return score(sampler, sampler.encoding.row(trial.params))

    study.optimize(objective, n_trials=8)
    kept = study.trials[-1].user_attrs
    assert kept.keys() == {"source", "predicted", "prequential", "screening"}
    assert kept["prequential"]["count"] == 3
    assert reliability(study).count == 4
