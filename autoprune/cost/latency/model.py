"""The latency of any policy: measured layers added up, and what a graph adds to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from autoprune.core.arrays import Floats
from autoprune.cost.latency.grid import Grid
from autoprune.cost.latency.layers import Layer
from autoprune.cost.products import Factors, Products
from autoprune.surgery.ids import Ids
from autoprune.surgery.plan import Factor, Plan, present

PARTS = ("layers", "rest", "traffic", "calls", "fixed")


@dataclass(frozen=True, slots=True)
class Fit:
    """What a graph takes beyond its layers, found from whole models that were measured.

    Args:
        weights: Seconds per unit of each of `PARTS`, none of them negative.
        error: Mean share by which a measured model was missed when it was left out of the fit.
        models: How many whole models were measured.
    """

    weights: tuple[float, ...]
    error: float
    models: int


class LatencyModel:
    """Milliseconds of one forward of any policy on one target.

    Args:
        plan: Plan of a trace with the target's batch.
        units: Units in the order of the columns of policies.
        layers: The layers of the plan.
        grids: What was measured of them, by key; the others count by their multiply-adds.
    """

    def __init__(
        self,
        plan: Plan,
        units: Sequence[str],
        layers: Sequence[Layer],
        grids: Mapping[str, Grid],
    ) -> None:
        self._factors = factors = Factors(units)
        self._layers = [
            (
                grids[layer.key],
                [factors.number(v) for v in layer.variables],
                Products(factors, [(1, [present(block) for block in layer.blocks])]),
            )
            for layer in layers
            if layer.key in grids
        ]
        pairs = zip([term for term in plan.terms if term.operands], layers, strict=True)
        unmeasured = [term for term, layer in pairs if layer.key not in grids]
        self._rest = Products(factors, [(t.coefficient, t.factors) for t in unmeasured])
        computed = {term.op for term in plan.terms}
        made = [piece for piece in plan.activations if not piece.prolonged]
        light = [piece for piece in made if piece.op not in computed and piece.op != "input"]
        self._traffic = Products(factors, [(p.coefficient, p.factors) for p in light])
        blocks = plan.of("block").keys()
        there = [[f for f in p.factors if f.parts and _units(f) <= blocks] for p in made]
        self._calls = Products(factors, [(1, parts) for parts in there])
        self.fit = Fit((1.0, 0.0, 0.0, 0.0, 0.0), float("nan"), 0)

    def parts(self, kept: Ids) -> Floats:
        """Return what a latency is made of, ``policies x PARTS``."""
        sizes = self._factors.values(kept)
        layers = np.zeros(len(kept))
        for grid, columns, there in self._layers:
            layers += grid.at(sizes[:, columns]) * there.values(sizes)[:, 0]
        others = [products.values(sizes).sum(axis=1) for products in self._others]
        return np.stack([layers, *others, np.ones(len(kept))], axis=1)

    @property
    def _others(self) -> tuple[Products, ...]:
        return self._rest, self._traffic, self._calls

    def __call__(self, kept: Ids) -> Floats:
        """Return milliseconds by policy, from ``policies x units`` atoms kept."""
        found: Floats = 1000 * self.parts(kept) @ np.array(self.fit.weights)
        return found

    def adjust(self, kept: Ids, seconds: Floats) -> None:
        """Fit what the graph adds, from whole models of the policies ``kept`` measured end to end.

        Relative errors count, and each policy is predicted once without its own measurement.
        """
        parts = self.parts(kept)
        misses = []
        for left_out in range(len(kept)):
            others = np.arange(len(kept)) != left_out
            weights = _fitted(parts[others], seconds[others])
            misses.append(abs(parts[left_out] @ weights / seconds[left_out] - 1))
        weights = _fitted(parts, seconds)
        self.fit = Fit(tuple(weights.tolist()), float(np.mean(misses)), len(kept))


def _units(factor: Factor) -> set[str]:
    return {unit for units in factor.parts for unit in units}


def _fitted(parts: Floats, seconds: Floats) -> Floats:
    """Return weights of least squared relative error, none negative (Lawson and Hanson 1974)."""
    scale = np.abs(parts).max(axis=0)
    scale[scale == 0] = 1
    weights: Floats = nnls(parts / scale / seconds[:, None], np.ones(len(seconds)))[0] / scale
    return weights
