"""Tables against whole models that were measured end to end."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from autoprune.agent.latency.search import TargetLatency, whole_models
from autoprune.core.progress import ProgressCallback
from autoprune.cost.latency.graph import random_policies
from autoprune.cost.latency.observations import Comparison
from autoprune.errors import ModelError

PAIRS_S = 3.0  # seconds for which a policy is compared with the dense model


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPolicy:
    """One policy, as the tables have it and as it was measured.

    Args:
        kept: Atoms kept, of the units that are cut.
        predicted_ms: Milliseconds by the tables.
        measured_ms: Milliseconds measured: the ratio to the dense model, times what the dense
            model took when the tables were fitted.
        ratio: Median over pairs of pruned by dense.
        low: Lower end of its 95% interval.
        high: Upper end of it.
        busy: Whether the device did other work.
    """

    kept: Mapping[str, int]
    predicted_ms: float
    measured_ms: float
    ratio: float
    low: float
    high: float
    busy: bool

    @property
    def error(self) -> float:
        """By which share the tables are too high; negative if too low."""
        return self.predicted_ms / self.measured_ms - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedLatency:
    """The tables of one target against policies that the fit had not seen.

    Args:
        target: The target.
        fingerprint: Tells the device apart.
        dense_ms: What the dense model took when the tables were fitted.
        policies: What was measured.
    """

    target: str
    fingerprint: str
    dense_ms: float
    policies: Sequence[CheckedPolicy]

    @property
    def mape(self) -> float:
        """Mean absolute percentage error, as a share."""
        return float(np.mean([abs(policy.error) for policy in self.policies]))

    @property
    def spearman(self) -> float | None:
        """Rank correlation of the two; None if there is none, of fewer than three policies."""
        pairs = np.array([(p.predicted_ms, p.measured_ms) for p in self.policies])
        if len(pairs) < 3 or not np.ptp(pairs, axis=0).all():
            return None
        return float(spearmanr(*pairs.T)[0])

    @property
    def busy(self) -> float:
        """Share of the policies during whose measurement the device did other work."""
        return float(np.mean([policy.busy for policy in self.policies]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        figures = {"mape": self.mape, "spearman": self.spearman, "busy": self.busy}
        policies = [asdict(one) | {"error": one.error} for one in self.policies]
        return asdict(self) | figures | {"policies": policies}


def check_tables(
    latency: TargetLatency,
    kept: Mapping[str, Sequence[int]],
    count: int,
    progress: ProgressCallback,
    *,
    seed: int = 0,
) -> CheckedLatency:
    """Measure random policies that the fit has not seen, and compare.

    Nothing of it is stored, so that no later fit has seen them either.

    Args:
        latency: Tables that were built and fitted.
        kept: Atoms kept at each level of each unit.
        count: How many policies; fewer if there are no more.
        progress: Told how it goes on.
        seed: Chooses them.

    Raises:
        ModelError: If there is no policy that the fit has not seen, or one cannot be run.
    """
    meter, model = latency.meter, latency.model
    assert model is not None
    shaping = {unit: at for unit, at in kept.items() if unit in meter.plan.units}
    policies = random_policies(shaping, count, np.random.default_rng(seed), latency.seen)
    if not policies:
        raise ModelError(
            "The search space holds no policy that the tables were not fitted to, so there is "
            "nothing to check them by. Give it more sparsities or more units."
        )
    told, found = whole_models(progress, str(meter.target)), []
    told(0, len(policies))
    with meter.against_dense() as pairs:
        for policy in policies:
            found.append(pairs.compare(pairs.cut(policy), PAIRS_S))
            told(len(found), len(policies))
    atoms, dense_s = meter.plan.atoms, latency.dense_s
    predicted = model(meter.rows(policies))
    return CheckedLatency(
        target=str(meter.target),
        fingerprint=latency.device.fingerprint,
        dense_ms=1000 * dense_s,
        policies=[
            _checked({u: n for u, n in policy.items() if n < atoms[u]}, ms, one, dense_s)
            for policy, ms, one in zip(policies, predicted.tolist(), found, strict=True)
        ],
    )


def _checked(
    kept: Mapping[str, int], predicted_ms: float, measured: Comparison, dense_s: float
) -> CheckedPolicy:
    return CheckedPolicy(
        kept=kept,
        predicted_ms=predicted_ms,
        measured_ms=1000 * measured.ratio * dense_s,
        ratio=measured.ratio,
        low=measured.low,
        high=measured.high,
        busy=measured.busy,
    )
