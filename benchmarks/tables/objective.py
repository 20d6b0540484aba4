"""A search whose evaluations are look-ups in a table: no network runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from autoprune.agent.feasible.projection import Projection
from autoprune.core.policy import Policy
from autoprune.errors import ConfigError
from autoprune.space.schema import UnitSpace, kept_atoms
from benchmarks.tables.make import BEST
from benchmarks.tables.network import Network
from benchmarks.tables.policies import policy_of
from benchmarks.tables.recipes import RECIPES
from benchmarks.tables.table import FOLDER, Floats, Table


@dataclass(frozen=True)
class TableObjective:
    """What a search asks about policies, answered by a table.

    Loss and quality of a policy are those of the first seed, which is all a search would see.
    How good a policy truly is, `truth`, is the mean over the seeds that scored it.

    Args:
        table: The table.
        network: The network it was made of; its weights do not matter.

    Raises:
        ConfigError: If the network has other units or levels than the table.
    """

    table: Table
    network: Network

    def __post_init__(self) -> None:
        kept = {unit: list(space.kept) for unit, space in self.spaces.items()}
        if kept != self.table.facts["kept"] or list(kept) != self.table.facts["units"]:
            raise ConfigError(
                f"The table was made of other units or levels: {self.table.facts['kept']}; the "
                f"network has {kept}. Make the table again: python -m benchmarks.tables make"
            )

    @classmethod
    def load(cls, name: str, folder: Path = FOLDER) -> "TableObjective":
        """Read the table called ``name``, which needs neither data nor training.

        Raises:
            ConfigError: If there is no such table, or it was made of another network.
        """
        return cls(Table.load(name, folder), Network.of(RECIPES[name]))

    @property
    def spaces(self) -> Mapping[str, UnitSpace]:
        """What may be chosen, by unit."""
        return self.projection.spaces

    @property
    def projection(self) -> Projection:
        """What is feasible, by the network's own cost model."""
        return self.network.projection

    @cached_property
    def truth(self) -> Floats:
        """Quality of each policy of the table: the mean over its seeds, at the first one's level.

        Seeds are better or worse for all policies together, by their batches. What they differ by
        among the best policies is taken off, or those that one seed scored could not be compared.
        """
        found: Floats = np.nanmean(self.table.quality - self._effects, axis=1)
        return found

    @property
    def noise(self) -> float:
        """Standard deviation between seeds of one policy among the best, in points.

        What seeds differ by for all of them together is left out.
        """
        rest = self._best - self._effects
        return 100 * float(np.sqrt(rest.var(axis=1, ddof=1).mean()))

    @cached_property
    def _best(self) -> Floats:
        """Quality of the best policies of those that every seed scored, ``policies x seeds``."""
        known = self.table.quality[~np.isnan(self.table.quality).any(axis=1)]
        best: Floats = known[np.argsort(-known.mean(axis=1))[:BEST]]
        return best

    @property
    def _effects(self) -> Floats:
        """What seeds add to the first one's quality, ``seeds``."""
        effects: Floats = (self._best - self._best[:, :1]).mean(axis=0)
        return effects

    def row(self, policy: Policy) -> int:
        """Return the row of a policy.

        Raises:
            ConfigError: If the table does not have it: it is outside the budget, leaves slack,
                or has a level or method that the space does not.
        """
        found = self._rows.get(policy)
        if found is None:
            raise ConfigError(
                f"The table does not have the policy {policy.to_dict()}. It has what "
                "`projection.project` gives: levels inside the budget, none of which can be "
                "lowered."
            )
        return found

    def __contains__(self, policy: Policy) -> bool:
        """Tell whether the table has a policy."""
        return policy in self._rows

    def score(self, policy: Policy) -> tuple[float, float]:
        """Return loss and quality as the first seed found them; see `row`."""
        at = self.row(policy)
        return float(self.table.loss[at, 0]), float(self.table.quality[at, 0])

    def policy(self, levels: Mapping[str, int], methods: Mapping[str, str]) -> Policy:
        """Return the policy of levels and methods by unit; the first method if not named."""
        spaces = self.spaces.items()
        return Policy({u: s.choice(methods.get(u, s.methods[0]), levels[u]) for u, s in spaces})

    def levels(self, policy: Policy) -> dict[str, int]:
        """Return the level of every unit."""
        kept = {u: kept_atoms(self.spaces[u].atoms, c.sparsity) for u, c in policy.items()}
        return {u: s.kept.index(kept.get(u, s.atoms)) for u, s in self.spaces.items()}

    def optimum(self) -> Policy:
        """Return the truly best of the policies that every seed scored."""
        known = ~np.isnan(self.table.quality).any(axis=1)
        return self.policies[int(np.argmax(np.where(known, self.truth, -np.inf)))]

    def gap_points(self, policy: Policy, *, seen: bool = False) -> float:
        """Return how many points a policy is below the best; see `row`.

        Args:
            policy: A policy of the table.
            seen: Compare what the first seed found with the best that it found, which a search
                by quality can reach; else compare the truth with that of `optimum`, which only
                luck can: seeds disagree about the last tenths. There a policy that one seed
                scored may come out above the optimum.
        """
        known = self.table.quality[:, 0] if seen else self.truth
        best = known.max() if seen else known[self.row(self.optimum())]
        return 100 * float(best - known[self.row(policy)])

    @cached_property
    def policies(self) -> list[Policy]:
        """Every policy of the table, row by row."""
        rows = zip(self.table.levels, self.table.codes, strict=True)
        return [policy_of(self.spaces, levels, codes) for levels, codes in rows]

    @cached_property
    def _rows(self) -> dict[Policy, int]:
        return {policy: at for at, policy in enumerate(self.policies)}
