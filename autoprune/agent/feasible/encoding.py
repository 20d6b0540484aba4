"""Policies as Optuna parameters, and as rows of integers that many are worked on at once."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from autoprune.core.arrays import Floats
from autoprune.core.policy import Policy
from autoprune.space.schema import UnitSpace

Params = dict[str, Any]
Rows = npt.NDArray[np.int64]


def distributions(spaces: Mapping[str, UnitSpace]) -> dict[str, BaseDistribution]:
    """Return Optuna's search space; a method is only asked for where there is a choice."""
    found: dict[str, BaseDistribution] = {}
    for unit, space in spaces.items():
        found[f"level:{unit}"] = IntDistribution(0, space.levels - 1)
        if len(space.methods) > 1:
            found[f"method:{unit}"] = CategoricalDistribution(space.methods)
    return found


def levels_of(params: Mapping[str, Any], spaces: Mapping[str, UnitSpace]) -> dict[str, int]:
    """Return the level of each unit."""
    return {unit: int(params[f"level:{unit}"]) for unit in spaces}


def policy_of(params: Mapping[str, Any], spaces: Mapping[str, UnitSpace]) -> Policy:
    """Return the policy that parameters stand for."""
    return Policy(
        {
            unit: space.choice(
                params.get(f"method:{unit}", space.methods[0]), int(params[f"level:{unit}"])
            )
            for unit, space in spaces.items()
        }
    )


def params_near(policy: Policy, spaces: Mapping[str, UnitSpace]) -> Params:
    """Return the parameters nearest to a policy of other spaces.

    A unit that is unknown there is untouched; a method that is not allowed here becomes the
    unit's first.
    """
    params: Params = {}
    for unit, space in spaces.items():
        choice = policy.get(unit)
        params[f"level:{unit}"] = 0 if choice is None else space.nearest(choice.sparsity)
        if len(space.methods) > 1:
            known = choice is not None and choice.method in space.methods
            params[f"method:{unit}"] = choice.method if choice and known else space.methods[0]
    return params


class Encoding:
    """Policies as rows: a level for each unit, then the number of its method for each unit.

    The method of an untouched unit is 0, and N:M has one level above 0, so rows that prune alike
    are equal.

    Args:
        spaces: What may be chosen, by unit.
    """

    def __init__(self, spaces: Mapping[str, UnitSpace]) -> None:
        self.spaces = dict(spaces)
        self.levels = np.array([space.levels for space in spaces.values()])
        self.methods = np.array([len(space.methods) for space in spaces.values()])

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.spaces)

    def split(self, rows: Rows) -> tuple[Rows, Rows]:
        """Return levels and numbers of methods, each ``policies x units``."""
        return rows[..., : self.units], rows[..., self.units :]

    def join(self, levels: Rows, methods: Rows) -> Rows:
        """Return the rows of levels and methods, none of which costs more than its levels do."""
        if self._merged is not None:
            levels = self._merged[np.arange(self.units), methods, levels]
        return np.concatenate([levels, np.where(levels > 0, methods, 0)], axis=-1)

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Tell whether parameters stand for a policy of these spaces; others may be among them."""
        for unit, space in self.spaces.items():
            level = params.get(f"level:{unit}")
            if not isinstance(level, int) or not 0 <= level < space.levels:
                return False
            if params.get(f"method:{unit}", space.methods[0]) not in space.methods:
                return False
        return True

    def has(self, row: Rows) -> bool:
        """Tell whether a row stands for a policy of these spaces."""
        most = np.concatenate([self.levels, self.methods])
        return row.shape == most.shape and bool(np.all((row >= 0) & (row < most)))

    def row(self, params: Mapping[str, Any]) -> Rows:
        """Return the row of parameters."""
        return self.join(*self.split(self.wish(params)))

    def wish(self, params: Mapping[str, Any]) -> Rows:
        """Return the row of parameters, with methods of untouched units: they may be cut yet."""
        levels, methods = [], []
        for unit, space in self.spaces.items():
            levels.append(int(params[f"level:{unit}"]))
            chosen = params.get(f"method:{unit}", space.methods[0])
            methods.append(space.methods.index(chosen))
        return np.array(levels + methods, np.int64)

    def params(self, row: Rows) -> Params:
        """Return the parameters of a row."""
        levels, methods = self.split(row)
        found: Params = {}
        for at, (unit, space) in enumerate(self.spaces.items()):
            found[f"level:{unit}"] = int(levels[at])
            if len(space.methods) > 1:
                found[f"method:{unit}"] = space.methods[int(methods[at])]
        return found

    def policy(self, row: Rows) -> Policy:
        """Return the policy of a row."""
        return policy_of(self.params(row), self.spaces)

    def random(self, rng: np.random.Generator, count: int) -> Rows:
        """Return wishes drawn evenly, inside the budget or not."""
        most = np.concatenate([self.levels, self.methods])
        return rng.integers(most, size=(count, 2 * self.units))

    def removed(self, rows: Rows) -> Floats:
        """Return the share of atoms that is removed, ``policies x units``."""
        levels, _ = self.split(rows)
        found: Floats = self._removed[np.arange(self.units), levels]
        return found

    @cached_property
    def _removed(self) -> Floats:
        """Share of atoms removed, ``units x levels``; beyond a unit's levels the last one."""
        most = int(self.levels.max())
        return np.array(
            [
                [1 - space.kept[min(at, space.levels - 1)] / space.atoms for at in range(most)]
                for space in self.spaces.values()
            ]
        )

    def by_method(self, rows: Rows) -> Floats:
        """Return the mean share removed by each method of any unit, ``policies x methods``."""
        _, methods = self.split(rows)
        own = self._numbers[np.arange(self.units), methods]
        removed = self.removed(rows) / self.units
        return np.stack([(removed * (own == at)).sum(axis=-1) for at in range(self._known)], -1)

    @cached_property
    def _merged(self) -> Rows | None:
        """The level that stands for each, ``units x methods x levels``; None if that is itself."""
        if not any(space.patterns for space in self.spaces.values()):
            return None
        found = np.empty((self.units, int(self.methods.max()), int(self.levels.max())), np.int64)
        found[:] = np.arange(found.shape[2])
        for at, space in enumerate(self.spaces.values()):
            for number, method in enumerate(space.methods):
                own = [space.one_of(method, level) for level in range(space.levels)]
                found[at, number, : space.levels] = own
        return found

    @cached_property
    def _names(self) -> list[str]:
        return sorted({method for space in self.spaces.values() for method in space.methods})

    @property
    def _known(self) -> int:
        return len(self._names)

    @cached_property
    def _numbers(self) -> Rows:
        """Number among all methods of each unit's own, ``units x methods``."""
        most = int(self.methods.max())
        return np.array(
            [
                [
                    self._names.index(space.methods[min(at, len(space.methods) - 1)])
                    for at in range(most)
                ]
                for space in self.spaces.values()
            ]
        )
