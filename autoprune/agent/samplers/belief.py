"""What scores so far make one expect of other policies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import norm

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.samplers.known import Known
from autoprune.agent.samplers.pool import Pool
from autoprune.core.arrays import Floats
from autoprune.predictor.estimator import ScorePredictor
from autoprune.predictor.prequential import COVERAGE, Reliability

_LEAST = 4  # scores before anything is predicted
_GROWTH = 1.25  # variances are fitted anew when there are so many times more scores
_TINY = float(np.finfo(float).tiny)
_NEARLY = 0.01  # share of the median below which scores are alike: nothing is lost
_FAR = 4.0  # times as far above the median as the best is below it: bad, however bad
_PENDING = 100  # policies that others score now, the latest, that are taken into account
_MOST = 300  # scores that are learned from: half of them the best, half the latest


@dataclass(frozen=True)
class Belief:
    """A fitted predictor; scores that are all positive are predicted by their logarithm.

    Args:
        pool: What makes features of rows.
        model: The predictor.
        best: The lowest score that is expected of what was scored inside the budget, as predicted.
        logarithmic: Whether the predictor was given logarithms.
        record: What predictions so far were worth; intervals are as wide as it says.
        earlier: What earlier runs make one expect.
    """

    pool: Pool
    model: ScorePredictor
    best: float
    logarithmic: bool
    record: Reliability
    earlier: Sequence["Belief"] = ()

    def expected(self, rows: Rows) -> Floats:
        """Return the scores expected of policies, or their logarithms."""
        found: Floats = self.model.predict(features(self.pool, rows, self.earlier))
        return found

    def interval(self, row: Rows) -> tuple[float, float, float]:
        """Return the score expected of one policy, and the ends of its 90% interval."""
        mean, low, high = self.intervals(row[None])[0].tolist()
        return mean, low, high

    def intervals(self, rows: Rows) -> Floats:
        """Return the scores expected, and both ends of their 90% intervals, ``policies x 3``."""
        seen = features(self.pool, rows, self.earlier)
        mean, std = self.model.predict(seen, return_std=True)
        wide = self.record.width * std * norm.ppf((1 + COVERAGE) / 2)
        found: Floats = np.stack([mean, mean - wide, mean + wide], axis=1)
        return np.exp(found) if self.logarithmic else found

    def improvement(self, rows: Rows) -> Floats:
        """Return by how much each policy is expected to improve on the best, noise left out."""
        seen = features(self.pool, rows, self.earlier)
        mean, std = self.model.predict(seen, return_std=True)
        std = np.sqrt(np.maximum(std**2 - self.model.noise_**2, 1e-12))
        return expected_improvement(self.best - mean, std)

    def together(self, rows: Rows) -> tuple[Floats, Floats]:
        """Return the scores expected of policies, and how they vary together, without noise."""
        mean, covariance = self.model.joint(features(self.pool, rows, self.earlier))
        return mean, covariance - self.model.noise_**2 * np.eye(len(mean))

    def coefficients(self, rng: np.random.Generator, count: int) -> Floats:
        """Return draws of what each unit's errors count for, ``draws x units``."""
        return self.model.drawn_coefficients(rng, count)


@dataclass
class Forecaster:
    """Fits predictors; what it returns depends on what is known alone.

    Args:
        pool: What makes features of rows.
        earlier: What earlier runs found, in rows of the same form.
    """

    pool: Pool
    earlier: Sequence[Known] = ()
    _kernels: dict[tuple[bytes, bool], Any] = field(default_factory=dict)

    def belief(self, known: Known) -> Belief | None:
        """Return what is expected, None where too little is known."""
        if np.isfinite(known.values).sum() < _LEAST:
            return None
        logarithmic = bool(np.nanmin(known.final) >= 0 < np.nanmedian(known.values))
        model = self._model(self._kernel(known, logarithmic))
        rows, values, noise = self._data(known, logarithmic)
        model.fit(rows, values, noise)
        if len(known.pending):
            # What others score now is taken to turn out as predicted: nobody else goes there.
            pending = features(self.pool, known.pending[-_PENDING:], self._told)
            believed = model.predict(pending)
            rows, values = np.concatenate([rows, pending]), np.concatenate([values, believed])
            model.fit(rows, values, np.concatenate([noise, np.zeros(len(pending))]))
        best, record = self._best(known, model, rows), Reliability.of(known.predictions)
        return Belief(self.pool, model, best, logarithmic, record, self._told)

    def _best(self, known: Known, model: ScorePredictor, seen: Floats) -> float:
        """Return the lowest score expected of what was proposed inside the budget, else at all.

        Args:
            known: What is known.
            model: The predictor.
            seen: Features of what it was fitted to: what ended, then what others score now.
        """
        rows = np.concatenate([known.rows[known.chosen(_MOST)], known.pending[-_PENDING:]])
        inside = self.pool.projection.meets(self.pool.encoding.split(rows)[0])
        return float(model.predict(seen[inside] if inside.any() else seen).min())

    @cached_property
    def _told(self) -> list[Belief]:
        """What each earlier run that scored enough makes one expect."""
        found = (Forecaster(self.pool).belief(known) for known in self.earlier)
        return [belief for belief in found if belief is not None]

    def _model(self, kernel: Any = None) -> ScorePredictor:
        return ScorePredictor(self.pool.encoding.units, kernel, len(self._told))

    def _kernel(self, known: Known, logarithmic: bool) -> Any:
        """Return the variances fitted last: to what was known then, so a resume finds the same."""
        then = known.first(_first(known))
        # Other rows under the same scores were swapped of late, or nothing else is as it was.
        key = then.rows[-_MOST:].tobytes() + then.final.tobytes(), logarithmic
        if key not in self._kernels:
            model = self._model()
            model.fit(*self._data(then, logarithmic))
            self._kernels = {key: model.kernel_}
        return self._kernels[key]

    def _data(self, known: Known, logarithmic: bool) -> tuple[Floats, Floats, Floats]:
        """Return features, values and their noise.

        What is far worse than most counts as bad, and no worse: how bad a ruined model is would
        set the scale on which good ones differ. What failed is as bad.
        """
        chosen = known.chosen(_MOST)
        least, middle = np.nanmin(known.values), np.nanmedian(known.values)
        bad = middle + _FAR * (middle - least)
        values = np.fmin(known.values, bad)[chosen]
        noise = known.noise[chosen]
        if logarithmic:
            # What was stopped may be expected below zero; it was stopped as no better than all.
            # And one that is nearly as the dense model would set the scale of all others.
            values = np.maximum(values, max(np.nanmin(known.final), middle * _NEARLY, _TINY))
            values, noise = np.log(values), noise / values
        return features(self.pool, known.rows[chosen], self._told), values, noise


def _first(known: Known) -> int:
    """Return how many policies had ended when variances were fitted last.

    Counted are scores: failures tell nothing of variances.
    """
    ended = np.flatnonzero(np.isfinite(known.final))
    count = _LEAST
    while count * _GROWTH <= len(ended):
        count = math.ceil(count * _GROWTH)
    return int(ended[count - 1]) + 1


def expected_improvement(ahead: Floats, std: Floats) -> Floats:
    """Return by how much scores are expected to be lower than the best (Jones et al. 1998).

    Args:
        ahead: By how much the expected score of each is.
        std: Standard deviation of each.
    """
    gain = ahead / std
    found: Floats = std * (gain * norm.cdf(gain) + norm.pdf(gain))
    return found


def features(pool: Pool, rows: Rows, earlier: Sequence[Belief] = ()) -> Floats:
    """Return what the predictor sees: given up, share removed by unit and by method.

    What is expected by earlier runs comes last, a column for each.
    """
    parts = (pool.given_up(rows), pool.encoding.removed(rows), pool.encoding.by_method(rows))
    told = (belief.expected(rows)[:, None] for belief in earlier)
    return np.concatenate([*parts, *told], axis=-1)
