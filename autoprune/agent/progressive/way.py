"""Policies on the way from one to another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoprune.agent.feasible.encoding import Encoding, Rows, params_near
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.samplers.decisions import ALIKE
from autoprune.core.arrays import Floats
from autoprune.core.policy import Policy
from autoprune.core.progressive import Spacing, allowed

_POSITIONS = 201  # places between two policies that are looked at


@dataclass(frozen=True)
class Way:
    """Finds how far to go towards a policy, so that what it costs is what a step allows.

    Args:
        projection: The limits, and what knows costs.
        spacing: How the way from dense to the limits is divided.
    """

    projection: Projection
    spacing: Spacing

    def towards(self, target: Policy, before: Policy, part: float) -> Policy:
        """Return the policy nearest to ``before`` on the way to a target that costs little enough.

        Atoms kept change alike in all units; methods are those of the target, if it cuts a unit.

        Args:
            target: A policy inside the limits.
            before: Where the model is now; empty for the dense model.
            part: Part of the way from dense to the limits that is to be done, 1 for the target.
        """
        if part >= 1:
            return target
        encoding = Encoding(self.projection.spaces)
        starts, ends = (encoding.split(self._row(one)) for one in (before, target))
        levels = self._between(starts[0], ends[0])
        dense = self._shares(Policy({}))
        most = np.array([allowed(share, part, self.spacing) for share in dense])
        able = self.projection.meets(levels, most)
        able[-1] = True  # the target itself
        methods = np.where(ends[0] > 0, ends[1], starts[1])
        return encoding.policy(encoding.join(levels[able.argmax()], methods))

    def alike(self, policy: Policy, before: Sequence[Policy]) -> bool:
        """Tell whether a policy costs about as much as the first of others, or less."""
        if not before:
            return True
        own, first = (self._shares(one) for one in (policy, before[0]))
        return bool((own <= first / ALIKE).all())

    def _shares(self, policy: Policy) -> Floats:
        levels, _ = Encoding(self.projection.spaces).split(self._row(policy))
        found: Floats = self.projection.shares(levels[None])[:, 0]
        return found

    def _row(self, policy: Policy) -> Rows:
        spaces = self.projection.spaces
        return Encoding(spaces).row(params_near(policy, spaces))

    def _between(self, start: Rows, end: Rows) -> Rows:
        """Return levels from one row to another, ``positions x units``, nearest in atoms kept."""
        at = np.linspace(0, 1, _POSITIONS)
        columns = []
        for unit, space in enumerate(self.projection.spaces.values()):
            kept = np.array(space.kept)
            aims = kept[start[unit]] + at * (kept[end[unit]] - kept[start[unit]])
            columns.append(np.abs(aims[:, None] - kept).argmin(axis=1))
        return np.stack(columns, axis=1)
