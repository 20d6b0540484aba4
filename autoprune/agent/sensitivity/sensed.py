"""The sensitivity table of a search: measured once, kept with the run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from autoprune.agent.feasible.encoding import Encoding
from autoprune.agent.housing.home import Lodging
from autoprune.agent.housing.workspace import SENSITIVITY
from autoprune.agent.preparing.prepare import Prepared
from autoprune.agent.request import Request
from autoprune.agent.samplers.names import SAMPLERS
from autoprune.agent.samplers.pool import padded
from autoprune.agent.sensitivity.profile import measure_sensitivity
from autoprune.core.arrays import Floats


@dataclass(frozen=True)
class Sensed:
    """What each unit gives up, and what it cost to find out.

    Args:
        errors: Loss given up by unit, method and level; empty where nothing was measured.
        sample_forwards: Cost, in forwards of one sample by the dense model.
        seconds: Cost, in seconds.
        sparsities: Share of its atoms that each level removes, by unit, for reports.
    """

    errors: Mapping[str, Mapping[str, list[float]]]
    sample_forwards: float = 0.0
    seconds: float = 0.0
    sparsities: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def padded(self, encoding: Encoding) -> Floats | None:
        """Return the errors as samplers take them, None where nothing was measured."""
        if not self.errors:
            return None
        arrays = {u: {m: np.array(e) for m, e in own.items()} for u, own in self.errors.items()}
        return padded(encoding, arrays)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def of(
        cls,
        request: Request,
        prepared: Prepared,
        kept: Mapping[str, Any],
        lodging: Lodging,
        *,
        model_fp: str,
        data_fp: str,
    ) -> Self:
        """Return the table that the run kept, else measure it and keep it.

        Args:
            request: The request.
            prepared: What the search starts from.
            kept: What the run kept; empty if it has not yet.
            lodging: The run.
            model_fp: Fingerprint of the dense model.
            data_fp: Fingerprint of the data.
        """
        if kept:
            return cls(**kept)
        found = cls({})
        if request.sensitivity and SAMPLERS.get(request.sampler).uses_errors:
            table = measure_sensitivity(
                prepared.scorer,
                prepared.projection.spaces,
                model_fp=model_fp,
                data_fp=data_fp,
                database=lodging.shared,
                hire=request.hire,
                progress=request.progress,
            )
            told = table.to_dict()
            costs = table.sample_forwards, table.seconds
            found = cls(told["errors"], *costs, told["sparsities"])
        return cls(**lodging.keep(SENSITIVITY, found.to_dict()))
