"""The predictor of scores: what it recovers, how sure it is, and that nothing breaks it."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm, spearmanr
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.gaussian_process.kernels import RBF
from sklearn.utils.estimator_checks import check_estimator

from autoprune.predictor.estimator import ScorePredictor
from autoprune.predictor.kernels import Columns, QuickRBF
from autoprune.predictor.prequential import Prediction, Reliability, Savings, Screening

Floats = npt.NDArray[np.float64]
WEIGHTS = np.linspace(0.3, 3.0, 10)
NEAR_90 = norm.ppf(0.95)


def additive(levels: Floats) -> Floats:
    return np.asarray(levels @ WEIGHTS)


def bent(levels: Floats) -> Floats:
    """What is given up together is more than the sum, and two units depend on each other."""
    total = levels @ WEIGHTS
    return np.asarray(total + 0.15 * total**2 + 2 * levels[:, 0] * levels[:, 1])


def steep(levels: Floats) -> Floats:
    return np.exp(0.4 * additive(levels))


def drawn(
    score: Callable[[Floats], Floats], seed: int, rows: int = 40, noise: float = 0.05
) -> tuple[Floats, Floats]:
    """Return features and scores whose noise is a share of their deviation."""
    rng = np.random.default_rng(seed)
    X = rng.random((rows, len(WEIGHTS)))
    exact = score(X)
    return X, exact + noise * exact.std() * rng.normal(size=rows)


@pytest.mark.slow
def test_it_is_an_estimator_as_scikit_learn_has_them() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        found = check_estimator(ScorePredictor(), on_fail=None)
    assert [one for one in found if one["status"] in ("failed", "xfail")] == []
    assert sum(one["status"] == "passed" for one in found) > 30


@pytest.mark.parametrize("noise", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_coefficients_of_an_additive_score_are_recovered(seed: int, noise: float) -> None:
    found = ScorePredictor().fit(*drawn(additive, seed, noise=noise)).coefficients()
    assert np.corrcoef(found, WEIGHTS)[0, 1] > 0.85
    assert 0.5 < np.std(found) / np.std(WEIGHTS) < 1.3
    if noise < 0.01:
        assert found == pytest.approx(WEIGHTS, abs=0.1)


@pytest.mark.parametrize("score", [bent, steep])
@pytest.mark.parametrize("seed", range(3))
def test_coefficients_differ_though_the_smooth_part_could_tell_it_all(
    score: Callable[[Floats], Floats], seed: int
) -> None:
    found = ScorePredictor().fit(*drawn(score, seed)).coefficients()
    assert spearmanr(found, WEIGHTS).statistic > 0.7
    assert np.std(found) > 0.15 * np.mean(found)


def test_draws_of_coefficients_spread_around_their_mean() -> None:
    model = ScorePredictor().fit(*drawn(additive, 0, rows=15, noise=0.3))
    rng = np.random.default_rng(0)
    draws = model.drawn_coefficients(rng, 400)
    assert (draws >= 0).all()
    assert (draws.std(axis=0) > 0).all()
    inside = model.coefficients() > 2 * draws.std(axis=0)  # of the others the cut moves the mean
    assert inside.any()
    expected = model.coefficients()[inside]
    error = draws[:, inside].std(axis=0) / 400**0.5
    assert (abs(draws[:, inside].mean(axis=0) - expected) < 5 * error).all()
    assert np.array_equal(model.drawn_coefficients(np.random.default_rng(0), 400), draws)


@pytest.mark.parametrize("score", [additive, bent, steep])
def test_intervals_hold_what_they_say(score: Callable[[Floats], Floats]) -> None:
    held = []
    for seed in range(8):
        X, y = drawn(score, seed, rows=240, noise=0.1)
        mean, std = ScorePredictor().fit(X[:40], y[:40]).predict(X[40:], return_std=True)
        held.append(np.mean(abs(y[40:] - mean) < NEAR_90 * std))
        assert spearmanr(mean, y[40:]).statistic > 0.9
    assert 0.80 <= np.mean(held) <= 0.97


def test_noise_is_found() -> None:
    X, y = drawn(additive, 0, rows=100, noise=0.2)
    found = ScorePredictor().fit(X, y).noise_
    assert found == pytest.approx(0.2 * additive(X).std(), rel=0.3)


def test_scores_of_more_noise_count_less() -> None:
    X, y = drawn(additive, 1, noise=0.02)
    wrong = y.copy()
    wrong[:10] += 5.0
    doubt = np.where(np.arange(40) < 10, 50.0, 0.0)
    fresh, exact = drawn(additive, 2, rows=100, noise=0.0)
    errors = [
        np.abs(ScorePredictor().fit(X, wrong, noise).predict(fresh) - exact).mean()
        for noise in (None, doubt)
    ]
    assert errors[1] < 0.3 * errors[0]
    plain, none = (ScorePredictor().fit(X, y, n).predict(fresh) for n in (None, np.zeros(40)))
    assert np.array_equal(plain, none)


def test_variances_of_a_fit_can_be_kept() -> None:
    X, y = drawn(bent, 0)
    first = ScorePredictor(5).fit(X, y)
    kept = ScorePredictor(5, first.kernel_).fit(X, y)
    assert kept.predict(X) == pytest.approx(first.predict(X))
    fewer = ScorePredictor(5, first.kernel_).fit(X[:9], y[:9])
    # a kernel rounds when it is rebuilt from its logarithms
    want, *found = (
        k.clone_with_theta(k.theta) for k in (first.kernel_, kept.kernel_, fewer.kernel_)
    )
    assert found == [want, want]


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_the_unit_of_scores_does_not_matter(scale: float) -> None:
    X, y = drawn(bent, 3)
    plain, scaled = ScorePredictor().fit(X, y), ScorePredictor().fit(X, scale * y + 7 * scale)
    assert scaled.predict(X) == pytest.approx(scale * (plain.predict(X) + 7), rel=1e-3)
    assert scaled.coefficients() == pytest.approx(scale * plain.coefficients(), rel=1e-2)


def odd_cases() -> dict[str, tuple[Floats, Floats]]:
    X, y = drawn(additive, 0, rows=12)
    one = np.ones_like(X)
    return {
        "one row": (X[:1], y[:1]),
        "two rows": (X[:2], y[:2]),
        "three rows": (X[:3], y[:3]),
        "constant scores": (X, np.full(12, 3.0)),
        "scores of zero": (X, np.zeros(12)),
        "a constant column": (np.where(np.arange(10) == 4, 1.0, X), y),
        "constant columns": (one, y),
        "columns of zero": (0 * one, y),
        "all constant": (one, np.full(12, -2.0)),
        "a row twenty times": (np.repeat(X[:1], 20, axis=0), np.repeat(y[:1], 20)),
        "a row with other scores": (np.repeat(X[:1], 20, axis=0), np.arange(20.0)),
        "scores that are huge": (X, 1e12 * y),
        "scores that are tiny": (X, 1e-13 * y),
        "one outlier": (X, np.where(np.arange(12) == 0, 1e6, y)),
        "a column that is huge": (X * np.where(np.arange(10) == 0, 1e9, 1), y),
    }


@pytest.mark.parametrize("case", odd_cases())
@pytest.mark.parametrize("prior", [None, 4, 99])
def test_nothing_is_ever_nan(case: str, prior: int | None) -> None:
    X, y = odd_cases()[case]
    model = ScorePredictor(prior).fit(X, y)
    mean, std = model.predict(np.vstack([X, 2 * X, 0 * X]), return_std=True)
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()
    assert (std >= 0).all()
    assert np.isfinite(model.noise_)
    rng = np.random.default_rng(0)
    for found in (model.coefficients(), *model.drawn_coefficients(rng, 2)):
        assert found.shape == (min(prior or 10, 10),)
        assert np.isfinite(found).all()
        assert (found >= 0).all()
    if np.ptp(y) == 0:
        assert model.predict(X) == pytest.approx(y)


def test_without_a_fit_nothing_is_predicted() -> None:
    with pytest.raises(NotFittedError):
        ScorePredictor().predict(np.zeros((1, 2)))
    with pytest.raises(NotFittedError):
        ScorePredictor().coefficients()


@pytest.mark.parametrize("far", [1.0, 1e4])
def test_the_quick_kernel_is_the_usual_one(far: float) -> None:
    rng = np.random.default_rng(0)
    X, Y = far + rng.normal(size=(7, 60)), far + rng.normal(size=(5, 60))
    Y[0] = X[3]
    found = QuickRBF(8.0)(X, Y)
    assert found == pytest.approx(RBF(8.0)(X, Y), abs=1e-6)
    assert found.max() <= 1.0
    assert np.array_equal(QuickRBF(8.0)(X), RBF(8.0)(X))


def test_a_kernel_of_some_columns_is_the_kernel_of_those() -> None:
    X = np.random.default_rng(0).random((6, 5))
    own, some = RBF(0.7), Columns(RBF(0.7), 1, 3)
    value, slope = some(X, eval_gradient=True)
    expected, steps = own(X[:, 1:3], eval_gradient=True)
    assert np.array_equal(value, expected)
    assert np.array_equal(slope, steps)
    assert np.array_equal(some(X[:2], X[2:]), own(X[:2, 1:3], X[2:, 1:3]))
    assert np.array_equal(some.diag(X), np.ones(6))
    assert some == some.clone_with_theta(some.theta)
    assert some != some.clone_with_theta(some.theta + 1)
    assert some != Columns(RBF(0.7), 1, 4)
    assert some.is_stationary()


# --- prequential


def made(*numbers: float) -> Prediction:
    return Prediction(*numbers)


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        ([], (0, None, None)),
        ([made(1, 0, 2, 1.5)], (1, None, 1.0)),
        ([made(1, 0, 2, 3), made(2, 1, 3, 2)], (2, None, 0.5)),
        # ranks 1 2 3 4 against 1 3 2 4: 1 - 6 x 2 / (4 x 15)
        (
            [made(1, 0, 2, 0), made(2, 1, 3, 5), made(3, 2, 4, 4), made(4, 3, 5, 6)],
            (4, pytest.approx(0.8), 0.5),  # 0 and 4 lie at ends of their intervals
        ),
        ([made(1, 0, 2, n) for n in range(4)], (4, None, 0.75)),
        ([made(n, 0, 2, 1) for n in range(4)], (4, None, 1.0)),
        ([made(n, n, n, -n) for n in range(4)], (4, pytest.approx(-1), 0.25)),
    ],
)
def test_what_predictions_were_worth_by_hand(predictions: list[Prediction], expected: Any) -> None:
    for order in (predictions, predictions[::-1]):
        found = Reliability.of(order)
        assert (found.count, found.spearman, found.coverage) == expected


def test_widths_follow_misses_until_coverage_is_kept() -> None:
    """Intervals that are a third as wide as they should be, of scores that are normal."""
    rng, made = np.random.default_rng(0), list[Prediction]()
    for score in rng.normal(size=400).tolist():
        wide = Reliability.of(made).width * 1.645 / 3
        made.append(Prediction(0.0, -wide, wide, score))
    assert Reliability.of(made[100:]).coverage == pytest.approx(0.9, abs=0.02)
    assert Reliability.of(made).width == pytest.approx(3, rel=0.4)
    assert Reliability.of([]).width == 1


def test_what_was_spared_is_counted_and_what_was_audited_judged() -> None:
    worse, better = Prediction(5, 4, 6, 5), Prediction(5, 4, 6, 2)
    possible = Prediction(3, 1, 5, 2)
    found = Savings.of(
        [
            (Screening(incumbent=3, spared=4, audit=False), worse),
            (Screening(incumbent=3, spared=2, audit=False), better),
            (Screening(incumbent=3, spared=0, audit=True), worse),
            (Screening(incumbent=3, spared=0, audit=True), better),
            (Screening(incumbent=3, spared=0, audit=True), possible),
        ]
    )
    assert found == Savings(spared=6, audited=2, wrong=1)


@pytest.mark.parametrize(
    ("audited", "wrong", "bound"),
    [(0, 0, None), (7, 0, 1 - 0.05 ** (1 / 7)), (2, 2, 1.0), (2, 1, 0.95**0.5)],
)
def test_the_share_spared_wrongly_has_an_upper_bound(
    audited: int, wrong: int, bound: float | None
) -> None:
    """Of two, one wrong: the bound p solves P(at most one of two) = 1 - p^2 = 0.05."""
    found = Savings(spared=9, audited=audited, wrong=wrong).wrong_at_most
    assert found == (None if bound is None else pytest.approx(bound))


# --- predictions by earlier runs


def error(column: Floats | None, X: Floats, y: Floats, rows: int) -> float:
    """Return the error on all rows after a fit to the first few, given an earlier prediction."""
    seen = X if column is None else np.column_stack([X, column])
    model = ScorePredictor(10, earlier=0 if column is None else 1).fit(seen[:rows], y[:rows])
    return float(np.sqrt(np.mean((model.predict(seen) - y) ** 2)))


def test_an_earlier_run_tells_where_scores_are_few() -> None:
    for sign in (1.0, -1.0):  # one that is wrong throughout tells as much
        ratios = []
        for seed in range(6):
            X, y = drawn(bent, seed, rows=200)
            ratios.append(error(sign * bent(X), X, y, 8) / error(None, X, y, 8))
        assert np.median(ratios) < 0.6


@pytest.mark.parametrize(("rows", "most"), [(8, 1.25), (16, 1.15)])
def test_an_earlier_run_that_tells_nothing_counts_for_nothing(rows: int, most: float) -> None:
    ratios = []
    for seed in range(10):
        X, y = drawn(bent, seed, rows=200)
        shuffled = np.random.default_rng(seed).permutation(y)
        ratios.append(error(shuffled, X, y, rows) / error(None, X, y, rows))
    assert np.median(ratios) < most


def test_two_earlier_runs_are_told_apart() -> None:
    X, y = drawn(bent, 0, rows=200)
    noise = np.random.default_rng(0).normal(size=200)
    one = np.column_stack([X, bent(X), noise])
    model = ScorePredictor(10, earlier=2).fit(one[:12], y[:12])
    assert spearmanr(model.predict(one), y).statistic > 0.95
    assert len(model.coefficients()) == 10
