"""A search that an earlier run misleads finds what a cold one finds."""

from collections.abc import Sequence

import numpy as np
import pytest

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.loop.trials import ask
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.pool import Pool
from autoprune.agent.samplers.promising import promising
from autoprune.core.arrays import Floats
from autoprune.testing.chains import chain
from autoprune.testing.samplers import study_of

pytestmark = pytest.mark.usefixtures("quiet_optuna")
WEIGHTS = np.array([0.3, 3.0, 0.5, 2.0, 1.0])
KEPT = {f"u{at}": range(16, 2, -2) for at in range(len(WEIGHTS))}
SEEDS, TRIALS = range(3), 14


def score(sampler: BudgetedSampler, row: Rows) -> float:
    removed = sampler.encoding.removed(row[None])[0]
    return float(1 + WEIGHTS @ removed**2 + removed[0] * removed[1])


def made(seed: int, earlier: Sequence[Known] = (), budget: str = "macs=40%") -> BudgetedSampler:
    projection = chain(KEPT, budget)
    cold = BudgetedSampler(projection, seed)
    rng = np.random.default_rng(seed)
    first = [cold.encoding.params(promising(cold.pool, one, rng)) for one in earlier]
    uniform = {f"level:{unit}": 3 for unit in projection.spaces}
    return BudgetedSampler(projection, seed, [*first, uniform], earlier=earlier)


def searched(sampler: BudgetedSampler, trials: int = TRIALS) -> tuple[Rows, Floats]:
    study, rows, scores = study_of(sampler), [], []
    for _ in range(trials):
        trial, params = ask(study, sampler)
        rows.append(sampler.encoding.row(params))
        scores.append(score(sampler, rows[-1]))
        study.tell(trial, scores[-1])
    return np.stack(rows), np.array(scores)


def told(rows: Rows, scores: Floats) -> Known:
    return Known(rows, scores, [{}] * len(rows), [], rows[:0], set())


@pytest.fixture(scope="module")
def earlier() -> tuple[Rows, Floats]:
    return searched(made(77, budget="macs=60%"), 24)


@pytest.fixture(scope="module")
def cold() -> Floats:
    return np.array([searched(made(seed))[1].min() for seed in SEEDS])


@pytest.mark.parametrize("kind", ["honest", "negated", "shuffled"])
def test_the_best_found_is_as_good(earlier: tuple[Rows, Floats], cold: Floats, kind: str) -> None:
    rows, scores = earlier
    found = []
    for seed in SEEDS:
        shuffled = np.random.default_rng(seed).permutation(scores)
        changed = {"honest": scores, "negated": -scores, "shuffled": shuffled}[kind]
        found.append(searched(made(seed, [told(rows, changed)]))[1].min())
    # By more than what seeds differ by, and by more than two per cent, would be worse.
    noise = max(2 * cold.std(), 0.02 * np.median(cold))
    assert np.median(found) <= np.median(cold) + noise
    if kind == "honest":
        assert np.median(found) <= np.median(cold) + 1e-9


def test_an_honest_run_under_another_budget_has_a_good_first_proposal(
    earlier: tuple[Rows, Floats],
) -> None:
    rows, scores = earlier
    sampler = made(0, [told(rows, scores)])
    (first,), _ = searched(sampler, 1)
    plain = sampler.feasible.projected(told(rows, scores).best(1)[0])
    uniform = sampler.feasible.projected(
        sampler.encoding.row({f"level:{unit}": 3 for unit in KEPT})
    )
    assert score(sampler, first) <= min(score(sampler, plain), score(sampler, uniform))


def test_the_best_of_the_same_budget_is_proposed_as_it_is() -> None:
    rows, scores = searched(made(5), 12)
    sampler = made(0, [told(rows, scores)])
    (first,), _ = searched(sampler, 1)
    assert np.array_equal(first, rows[scores.argmin()])


def test_what_scored_too_little_is_proposed_and_not_learned_from() -> None:
    projection: Projection = chain(KEPT, "macs=60%")
    pool = Pool.of(projection, BudgetedSampler(projection, 0).encoding, None)
    rows = pool.random(np.random.default_rng(0), 2)
    sampler = made(0, [told(rows, np.array([2.0, 1.0]))])
    found, scores = searched(sampler, 8)
    assert np.array_equal(found[0], sampler.feasible.projected(rows[1]))
    assert np.isfinite(scores).all()
