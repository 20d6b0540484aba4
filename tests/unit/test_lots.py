"""Several proposals of one pool: what one of them tells of the others counts."""

from collections.abc import Sequence

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.samplers.belief import Forecaster
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.agent.samplers.history import History
from autoprune.agent.samplers.joint import Joint
from autoprune.agent.samplers.proposal import Proposal
from autoprune.testing.chains import chain

pytestmark = pytest.mark.usefixtures("quiet_optuna")
PROJECTION = chain(
    {f"u{at}": range(16, 2, -2) for at in range(4)}, "macs=50%", ("channel.l1", "channel.l2")
)


def joint(covariance: Sequence[Sequence[float]], mean: Sequence[float], noise: float) -> Joint:
    return Joint(np.array(mean), np.array(covariance), noise, best=0.0)


def test_candidates_that_tell_nothing_of_each_other_come_by_what_they_promise() -> None:
    alone = joint(np.diag([1.0, 4.0, 2.0]).tolist(), [0.0, 0.0, 0.0], 0.1)
    assert list(alone.best_first()) == [1, 2, 0], "the wider the better, at one mean"
    means = joint(np.eye(3).tolist(), [0.3, -0.2, 0.1], 0.1)
    assert list(means.best_first()) == [1, 2, 0], "the lower the better, at one width"


def test_what_is_as_good_as_scored_already_comes_last() -> None:
    twins = joint([[4.0, 4.0, 0.0], [4.0, 4.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 0.0, 0.0], 0.0)
    assert list(twins.best_first()) == [0, 2, 1]


def test_a_score_to_come_leaves_what_the_formula_says() -> None:
    """Conditional variances of a normal distribution, by hand."""
    found = joint([[2.0, 1.0], [1.0, 3.0]], [0.0, 0.0], 0.5)
    order = found.best_first()
    assert next(order) == 1
    assert next(order) == 0
    assert found.covariance[0, 0] == pytest.approx(2.0 - 1.0 * 1.0 / (3.0 + 0.5))


def test_a_belief_that_holds_all_at_once_agrees_with_one_that_looks_at_each() -> None:
    study, sampler = told(20)
    known = History(sampler.encoding).read(study)
    belief = Forecaster(sampler.pool).belief(known)
    assert belief is not None
    rows = sampler.pool.random(np.random.default_rng(5), 8)
    mean, covariance = belief.together(rows)
    assert mean == pytest.approx(belief.expected(rows))
    found = Joint.of(belief, rows)
    assert next(found.best_first()) == int(np.argmax(belief.improvement(rows)))
    assert np.allclose(covariance, covariance.T)


def told(count: int, **options: float) -> tuple[optuna.Study, BudgetedSampler]:
    """Return a study with scores that the table tells much of, and a fresh sampler."""
    study = optuna.create_study()
    sampler = BudgetedSampler(PROJECTION, 0, **options)  # type: ignore[arg-type]
    for row in sampler.pool.random(np.random.default_rng(1), count):
        params = sampler.encoding.params(row)
        value = 0.5 + float(sampler.pool.given_up(row).sum())
        said = {"predicted": {"expected": value, "low": value - 0.1, "high": value + 0.1}}
        study.add_trial(
            create_trial(value=value, params=params, distributions=sampler.space, user_attrs=said)
        )
    return study, sampler


def rows_of(lot: Sequence[Proposal]) -> list[bytes]:
    return [one.row.tobytes() for one in lot]


@pytest.mark.parametrize("scores", [0, 2, 20])
def test_a_lot_is_new_different_and_decided_by_what_is_known(scores: int) -> None:
    study, sampler = told(scores)
    tried = History(sampler.encoding).read(study).tried
    lot = sampler.propose_all(study, 50)
    assert len(set(rows_of(lot)) - tried) == len(lot) == 50
    levels: Rows = np.stack([one.row for one in lot])[:, :4]
    assert PROJECTION.meets(levels).all()
    assert rows_of(told(scores)[1].propose_all(study, 50)) == rows_of(lot)
    assert rows_of(lot)[:1] == rows_of([told(scores)[1].propose(study)])
    assert all((one.expected is not None) == (scores == 20) for one in lot)


def test_shares_of_audits_and_of_examined_decisions_hold_in_lots_too() -> None:
    study, sampler = told(20, exploration=0.3)
    lot = sampler.propose_all(study, 200)
    audits = sum(one.screening is not None and one.screening.audit for one in lot)
    assert 0.05 * len(lot) < audits < 0.4 * len(lot), "rollback takes the place of some"
    examined = [one.examines for one in lot if one.examines is not None]
    assert 0 < len(examined) <= 0.5 * (20 + len(lot))
    assert len({(one.row.tobytes(), one.units) for one in examined}) >= len(examined) / 2


def test_without_trust_a_lot_is_taken_as_it_was_drawn() -> None:
    study, sampler = told(20, gate=2.0)  # a rank correlation that nothing reaches
    lot = sampler.propose_all(study, 30)
    assert len(set(rows_of(lot))) == 30
    assert all(one.screening is None for one in lot)
    assert all(one.expected is not None for one in lot), "it is recorded all the same"
