"""The work of a worker that probes: some units, each until its levels are known."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from autoprune.core.policy import Policy
from autoprune.core.probing import Probing
from autoprune.evaluation.probing.points import Point, due
from autoprune.evaluation.probing.probe import Prober
from autoprune.evaluation.probing.probed import Probed
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.space.schema import UnitSpace

Answer = tuple[str, list[Point], list[Probed]]  # unit, methods and levels, what they gave
Probes = Mapping[str, Mapping[Point, float]]  # units to be probed, what is known of each


class Probe:
    """Probes units, neighbours of which share activations; can be pickled.

    Args:
        scorer: What builds the models; its task has the data.
        spaces: What may be chosen, by unit.
        probing: How units are probed.
    """

    def __init__(self, scorer: Scorer, spaces: Mapping[str, UnitSpace], probing: Probing) -> None:
        self._scorer, self._spaces, self._probing = scorer, spaces, probing
        self._prober: Prober | None = None

    @property
    def prober(self) -> Prober:
        """What probes; made where it is asked for first, for its batches do not travel."""
        if self._prober is None:
            self._prober = Prober(self._scorer, self._probing)
        return self._prober

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled."""
        return {**self.__dict__, "_prober": None}

    def __call__(self, job: Probes) -> list[Answer]:
        """Return what probes of each unit gave.

        Raises:
            InputError: If the data or the dense model cannot be used.
        """
        return [answer for unit, known in job.items() for answer in self._answers(unit, known)]

    def _answers(self, unit: str, known: Mapping[Point, float]) -> Iterator[Answer]:
        space, given_up = self._spaces[unit], dict(known)
        dense = self.prober.dense.loss
        assert dense is not None
        while points := due(space, self._probing.levels, given_up):
            policies = [Policy({unit: space.choice(*point)}) for point in points]
            found = self.prober.probe(unit, policies)
            for point, one in zip(points, found, strict=True):
                given_up[point] = np.inf if one.loss is None else one.loss - dense
            yield unit, points, found
