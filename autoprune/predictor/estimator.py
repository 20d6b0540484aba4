"""Scores of policies from few evaluations: what each unit gives up adds up, the rest is smooth."""

import warnings
from typing import Any, Self

import numpy as np
from scipy.linalg import cho_solve
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Kernel, WhiteKernel
from sklearn.utils.validation import check_is_fitted, validate_data

from autoprune.core.arrays import Floats
from autoprune.predictor.kernels import Columns, QuickRBF

_SMALL = 1e-12
_JITTER = 1e-6  # variance, of scores of variance 1


class ScorePredictor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # no types there
    """Gaussian process around an additive prior.

    ``y = a + sum_j (b + d_j) x_j + f(x) + sum_k c_k g_k + noise``: the first columns are what each
    unit is thought to give up, ``b`` makes a score of their sum, ``d`` corrects single units (the
    coefficients of SPDY, Frantar and Alistarh 2022, arXiv:2201.13096, learned from scores here),
    ``f`` is smooth over all columns but the last, ``g``, which are predictions by earlier runs:
    where these mislead, ``c`` comes to nothing. All are normal a priori; their variances, the
    length of ``f`` and the noise maximise the marginal likelihood (Rasmussen and Williams 2006,
    chapter 5).

    Args:
        prior: How many of the first columns add up to the prior; None for all.
        kernel: The ``kernel_`` of a predictor fitted before, whose variances are kept, which is
            much faster; None to fit them.
        earlier: How many of the last columns are predictions by earlier runs.
    """

    def __init__(
        self, prior: int | None = None, kernel: Kernel | None = None, earlier: int = 0
    ) -> None:
        self.prior = prior
        self.kernel = kernel
        self.earlier = earlier

    def fit(self, X: Any, y: Any, noise: Any = None) -> Self:
        """Learn from scored policies.

        Args:
            X: Features, ``policies x columns``.
            y: Scores, ``policies``.
            noise: Standard deviation of each score beyond the noise that all have.
        """
        X, y = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        own = X.shape[1] - self.earlier
        self.prior_ = own if self.prior is None else min(self.prior, own)
        self.center_, self.spread_ = X.mean(axis=0), _or_one(X.std(axis=0))
        self.unit_ = _or_one(X[:, : self.prior_].sum(axis=1).std())
        self.level_, self.scale_ = float(y.mean()), float(_or_one(y.std()))
        inputs, targets = self._inputs(X), (y - self.level_) / self.scale_
        extra = np.zeros(len(y)) if noise is None else np.asarray(noise) / self.scale_
        fresh = self.kernel is None
        start = _kernel(self.prior_, own, self.earlier) if fresh else self.kernel
        optimiser = "fmin_l_bfgs_b" if fresh and len(y) > 1 else None
        self.process_ = GaussianProcessRegressor(
            start, alpha=_JITTER + extra**2, optimizer=optimiser
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a variance at its bound is fine
            self.process_.fit(inputs, targets)
        self.kernel_ = self.process_.kernel_
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return expected scores; with ``return_std`` also the deviation of a score to come."""
        check_is_fitted(self)
        inputs = self._inputs(validate_data(self, X, reset=False, dtype=np.float64))
        if not return_std:
            return self.level_ + self.scale_ * self.process_.predict(inputs)
        mean, std = self.process_.predict(inputs, return_std=True)
        return self.level_ + self.scale_ * mean, self.scale_ * std

    def joint(self, X: Any) -> tuple[Floats, Floats]:
        """Return expected scores and the covariance of scores to come, noise included."""
        check_is_fitted(self)
        inputs = self._inputs(validate_data(self, X, reset=False, dtype=np.float64))
        mean, covariance = self.process_.predict(inputs, return_cov=True)
        return self.level_ + self.scale_ * mean, self.scale_**2 * covariance

    @property
    def noise_(self) -> float:
        """Standard deviation of the noise that all scores have, as fitted."""
        return float(self.scale_ * self.kernel_.k2.noise_level**0.5)

    def coefficients(self) -> Floats:
        """Return what each prior column is expected to count for, ``b + d``, not below zero."""
        found, _ = self._coefficients()
        return self._of_scores(found)

    def drawn_coefficients(self, rng: np.random.Generator, count: int) -> Floats:
        """Return draws of what each prior column may count for, ``draws x columns``.

        Negative ones, which noise brings about, are cut off at zero.
        """
        mean, covariance = self._coefficients()
        return self._of_scores(rng.multivariate_normal(mean, covariance, count, method="eigh"))

    def _coefficients(self) -> tuple[Floats, Floats]:
        """Return mean and covariance of the coefficients of standardised scores."""
        check_is_fitted(self)
        slope, each = self.kernel_.k1.k1.k1, self.kernel_.k1.k1.k2
        prior = np.full((self.prior_, self.prior_), slope.k1.constant_value)
        prior += each.k1.constant_value * np.eye(self.prior_)
        cross = prior @ self.process_.X_train_[:, 1 : 1 + self.prior_].T
        left = prior - cross @ cho_solve((self.process_.L_, True), cross.T)
        return cross @ self.process_.alpha_, (left + left.T) / 2

    def _of_scores(self, coefficients: Floats) -> Floats:
        return np.asarray(np.clip(coefficients, 0.0, None) * self.scale_ / self.unit_)

    def _inputs(self, X: Floats) -> Floats:
        """Return the sum of the prior columns, these themselves, and all columns alike.

        Those of earlier runs come last.

        All are centered as the scores are: the linear part needs no intercept then, for which
        it would have to call on the smooth part.
        """
        around = X - self.center_
        own = around[:, : self.prior_] / self.unit_
        count = X.shape[1] - self.earlier
        alike = around[:, :count] / (self.spread_[:count] * count**0.5)
        last = around[:, count:] / self.spread_[count:]
        return np.hstack([own.sum(axis=1, keepdims=True), own, alike, last])


def _kernel(prior: int, columns: int, earlier: int) -> Kernel:
    linear, ends = DotProduct(0.0, sigma_0_bounds="fixed"), 1 + prior
    slope = ConstantKernel(1.0, (1e-3, 1e2)) * Columns(linear, 0, 1)
    # Not less: the smooth part would take the place of coefficients, which nobody can read off it.
    each = ConstantKernel(0.3, (1e-1, 1e1)) * Columns(linear, 1, ends)
    length = QuickRBF(2.0, (0.3, 30.0))
    rest = ConstantKernel(0.3, (1e-3, 1e1)) * Columns(length, ends, ends + columns)
    for at in range(ends + columns, ends + columns + earlier):
        rest += ConstantKernel(0.3, (1e-4, 1e0)) * Columns(linear, at, at + 1)
    return slope + each + rest + WhiteKernel(0.1, (1e-4, 1e0))


def _or_one(deviations: Any) -> Any:
    """Return deviations, with 1 for what does not vary."""
    return np.where(deviations < _SMALL, 1.0, deviations)
