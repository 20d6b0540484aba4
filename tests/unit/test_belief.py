"""What is expected depends on what is known alone."""

import math
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.trial import Trial, TrialState
from scipy.stats import spearmanr

from autoprune.agent.feasible.encoding import Encoding, Rows, distributions
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.belief import Belief, Forecaster, features
from autoprune.agent.samplers.history import History
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.pool import Pool
from autoprune.core.arrays import Floats
from autoprune.core.budget import Budget
from autoprune.cost.model import CostModel
from autoprune.predictor.prequential import Prediction
from autoprune.space.schema import SearchSpace
from autoprune.surgery.plan import Plan

pytestmark = pytest.mark.usefixtures("quiet_optuna")


@pytest.fixture
def pool(cost: CostModel, plan: Plan) -> Pool:
    given = {
        "methods": ["channel.l1", "channel.l2"],
        "sparsities": [at / 12 for at in range(1, 12)],
    }
    atoms = {name: unit.atoms for name, unit in plan.units.items()}
    spaces = SearchSpace.model_validate(given).resolve(atoms)
    projection = Projection(cost, spaces, Budget.parse("macs=70%"))
    return Pool.of(projection, Encoding(spaces), None)


class Told:
    """A study that is told scores of policies drawn from a pool."""

    def __init__(self, pool: Pool, seed: int = 0) -> None:
        self.pool = pool
        self.study = optuna.create_study()
        self.rng = np.random.default_rng(seed)
        self.space = distributions(pool.encoding.spaces)

    def begin(self) -> tuple[Trial, float]:
        """Return a trial, and a score that depends on its policy."""
        row = self.pool.random(self.rng, 1)[0]
        params = self.pool.encoding.params(row)
        self.study.enqueue_trial(params)
        trial = self.study.ask(self.space)
        return trial, 0.5 + float(self.pool.given_up(row[None])[0] @ (3.0, 1.0))

    def tell(self, count: int, shift: float = 0.0) -> None:
        for _ in range(count):
            trial, score = self.begin()
            self.study.tell(trial, score + shift + 0.01 * self.rng.normal())

    def known(self) -> Known:
        return History(self.pool.encoding).read(self.study)


def looked_at(belief: Belief | None, rows: Rows) -> Floats:
    assert belief is not None
    intervals = np.array([belief.interval(row) for row in rows])
    draw = belief.coefficients(np.random.default_rng(0), 1)[0]
    return np.concatenate([intervals.ravel(), belief.improvement(rows), draw])


@pytest.fixture
def rows(pool: Pool) -> Rows:
    return pool.random(np.random.default_rng(99), 12)


def test_of_less_than_four_scores_nothing_is_expected(pool: Pool) -> None:
    told, forecaster = Told(pool), Forecaster(pool)
    assert forecaster.belief(told.known()) is None
    told.tell(3)
    for _ in range(9):
        told.study.tell(told.begin()[0], state=TrialState.FAIL)
    assert forecaster.belief(told.known()) is None
    told.tell(1)
    assert forecaster.belief(told.known()) is not None


def test_it_does_not_matter_when_it_was_asked(pool: Pool, rows: Rows) -> None:
    told, often = Told(pool), Forecaster(pool)
    for number in range(30):
        told.tell(1)
        if number % 4 == 3:
            told.study.tell(told.begin()[0], state=TrialState.FAIL)
        known = told.known()
        found, fresh = often.belief(known), Forecaster(pool).belief(known)
        if fresh is not None and number % 3 == 0:
            assert np.array_equal(looked_at(found, rows), looked_at(fresh, rows))


def test_trials_that_came_in_late_are_as_if_they_had_been_read_in_time(
    pool: Pool, rows: Rows
) -> None:
    """Another process may have ended trials before those that were read: order is by time."""
    told, often = Told(pool), Forecaster(pool)
    told.tell(12)
    known = told.known()
    late = replace(known, rows=known.rows[::-1], final=known.final[::-1])
    often.belief(known)
    found, fresh = often.belief(late), Forecaster(pool).belief(late)
    assert np.array_equal(looked_at(found, rows), looked_at(fresh, rows))


def test_scores_are_learned(pool: Pool, rows: Rows) -> None:
    told = Told(pool)
    told.tell(30)
    belief = Forecaster(pool).belief(told.known())
    assert belief is not None
    exact = 0.5 + pool.given_up(rows) @ (3.0, 1.0)
    found = np.array([belief.interval(row) for row in rows])
    assert found[:, 0] == pytest.approx(exact, rel=0.1)
    assert np.mean((found[:, 1] <= exact) & (exact <= found[:, 2])) >= 0.8
    assert (found[:, 1] < found[:, 0]).all()
    assert (found[:, 0] < found[:, 2]).all()
    assert (found[:, 1] > 0).all(), "scores that are all positive stay so"
    gains = belief.improvement(rows)
    assert (gains >= 0).all()
    assert gains.max() > 0


def test_scores_of_either_sign_are_predicted_as_they_are(pool: Pool, rows: Rows) -> None:
    told = Told(pool)
    told.tell(20, shift=-1.0)
    belief = Forecaster(pool).belief(told.known())
    assert belief is not None
    assert not belief.logarithmic
    exact = pool.given_up(rows) @ (3.0, 1.0) - 0.5
    assert [belief.interval(row)[0] for row in rows] == pytest.approx(exact, abs=0.2)


def test_it_does_not_matter_how_bad_a_ruined_model_is(pool: Pool, rows: Rows) -> None:
    found = []
    for ruined in (50.0, 5000.0):
        told = Told(pool)
        told.tell(12)
        told.study.tell(told.begin()[0], ruined)
        told.tell(6)
        found.append(looked_at(Forecaster(pool).belief(told.known()), rows))
    assert np.array_equal(found[0], found[1])


def test_what_failed_is_expected_to_be_bad(pool: Pool) -> None:
    told = Told(pool)
    told.tell(12)
    before = Forecaster(pool).belief(told.known())
    best = told.known().best(1)[0]
    for _ in range(3):
        told.study.enqueue_trial(pool.encoding.params(best))
        told.study.tell(told.study.ask(told.space), state=TrialState.FAIL)
    after = Forecaster(pool).belief(told.known())
    assert before is not None
    assert after is not None
    assert after.interval(best)[0] > before.interval(best)[0]


def test_nobody_goes_where_others_are(pool: Pool) -> None:
    told = Told(pool)
    told.tell(8)
    alone = Forecaster(pool).belief(told.known())
    assert alone is not None
    candidates = pool.random(np.random.default_rng(5), 60)
    first = candidates[alone.improvement(candidates).argmax()]
    told.study.enqueue_trial(pool.encoding.params(first))
    told.study.ask(told.space)
    known = told.known()
    assert len(known.pending) == 1
    beside = Forecaster(pool).belief(known)
    assert beside is not None
    assert beside.improvement(first[None])[0] < 0.7 * alone.improvement(first[None])[0]
    low, high = beside.interval(first)[1:]
    assert high - low < alone.interval(first)[2] - alone.interval(first)[1]


def test_misses_widen_intervals_and_hits_narrow_them(pool: Pool, rows: Rows) -> None:
    told = Told(pool)
    told.tell(12)
    known = told.known()
    widths = []
    for score in (1.0, 9.0):  # inside and outside
        made = [Prediction(1.0, 0.5, 2.0, score)] * 10
        belief = Forecaster(pool).belief(replace(known, predictions=made))
        assert belief is not None
        low, high = belief.intervals(rows)[:, 1:].T
        widths.append(np.log(high / low))
    assert widths[1] / widths[0] == pytest.approx(math.exp(0.15 * 10))


def test_features_are_errors_and_shares(pool: Pool, rows: Rows) -> None:
    found = features(pool, rows)
    assert found.shape == (len(rows), 2 + 2 + 2)
    assert np.array_equal(found[:, :2], pool.given_up(rows))
    assert np.array_equal(found[:, 2:4], pool.encoding.removed(rows))
    assert found[:, 4:].sum(axis=1) == pytest.approx(found[:, 2:4].mean(axis=1))


# --- what changes what earlier scores count for


def test_a_score_below_zero_changes_all_at_once(pool: Pool, rows: Rows) -> None:
    """Variances that were fitted to logarithms are none of scores."""
    told, often = Told(pool), Forecaster(pool)
    told.tell(13)
    assert often.belief(told.known()) is not None
    told.tell(1, shift=-9.0)
    known = told.known()
    found, fresh = often.belief(known), Forecaster(pool).belief(known)
    assert np.array_equal(looked_at(found, rows), looked_at(fresh, rows))


def test_early_stops_whose_expected_scores_change_with_every_trial(pool: Pool, rows: Rows) -> None:
    told, often = Told(pool), Forecaster(pool)
    for number in range(40):
        trial, score = told.begin()
        trial.report(score / 2 + 0.05 * told.rng.normal(), 0)
        if number % 3 == 2:
            told.study.tell(trial, state=TrialState.PRUNED)
        else:
            told.study.tell(trial, score)
        known = told.known()
        found, fresh = often.belief(known), Forecaster(pool).belief(known)
        if fresh is not None and number % 3 == 0:
            assert np.array_equal(looked_at(found, rows), looked_at(fresh, rows))


def test_many_failures_before_the_first_scores(pool: Pool, rows: Rows) -> None:
    told = Told(pool)
    for _ in range(40):
        told.study.tell(told.begin()[0], state=TrialState.FAIL)
    told.tell(4)
    assert np.isfinite(looked_at(Forecaster(pool).belief(told.known()), rows)).all()


def test_a_line_that_leads_below_zero(pool: Pool, rows: Rows) -> None:
    told = Told(pool)
    for _ in range(10):
        trial, score = told.begin()
        trial.report(score, 0)
        told.study.tell(trial, score**2)
    trial, _ = told.begin()
    trial.report(-5.0, 0)
    told.study.tell(trial, state=TrialState.PRUNED)
    assert np.isfinite(looked_at(Forecaster(pool).belief(told.known()), rows)).all()


def test_of_many_that_others_score_the_latest_count(pool: Pool, rows: Rows) -> None:
    told = Told(pool)
    told.tell(12)
    for _ in range(130):
        told.begin()
    known, forecaster = told.known(), Forecaster(pool)
    latest = replace(known, pending=known.pending[-100:])
    seen = looked_at(forecaster.belief(known), rows)
    assert seen == pytest.approx(looked_at(forecaster.belief(latest), rows))
    fewer = replace(known, pending=known.pending[-99:])
    assert not np.allclose(seen, looked_at(forecaster.belief(fewer), rows))


@pytest.mark.parametrize("nothing", [1e-9, 0.0])
def test_a_score_of_nearly_nothing_does_not_set_the_scale_of_the_others(
    pool: Pool, nothing: float
) -> None:
    """As where a cut loses nothing: the divergence from the dense model is rounding then."""
    rows = pool.random(np.random.default_rng(9), 60)
    easiest = rows[int(np.argmin(pool.given_up(rows)[0] @ (3.0, 1.0)))]
    ranks = {}
    for lowest in (0.45, nothing):
        told = Told(pool, seed=3)
        told.study.enqueue_trial(pool.encoding.params(easiest))
        told.study.tell(told.study.ask(told.space), lowest)
        told.tell(30)
        belief = Forecaster(pool).belief(told.known())
        assert belief is not None
        assert belief.logarithmic
        ranks[lowest] = belief.intervals(rows)[:, 0]
        assert belief.intervals(easiest[None])[0, 0] > 1e-3
    assert spearmanr(ranks[0.45], ranks[nothing]).statistic > 0.9
