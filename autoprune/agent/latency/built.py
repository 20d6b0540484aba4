"""What building the tables of one target came to."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autoprune.agent.latency.search import TargetLatency


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltLatency:
    """Tables of one model on one target of this device, fitted to whole models.

    Args:
        target: The target.
        fingerprint: Tells the device apart.
        facts: What the device is, by name.
        steps: The smaller and the larger step of channels in which latency rises.
        layers: Layers of the model.
        timed: Layers that were timed alone; the others count by their MACs.
        measured: Points of the tables that were measured.
        reused: Points that the database knew.
        busy: Points, of those measured, whose times varied because the device did other work.
        asked: Share of the layers' time by which the tables may be wrong.
        error: Share by which they are expected to be wrong; None if not every table was looked
            into.
        models: Whole models that the tables were fitted to.
        fit_error: Mean share by which a whole model was missed when it was left out of the fit.
        seconds: What all of it took.
    """

    target: str
    fingerprint: str
    facts: Mapping[str, str]
    steps: tuple[int, int]
    layers: int
    timed: int
    measured: int
    reused: int
    busy: int
    asked: float
    error: float | None
    models: int
    fit_error: float
    seconds: float

    @classmethod
    def of(cls, latency: TargetLatency, asked: float) -> "BuiltLatency":
        """Return what there is to say of tables that were asked to be no more wrong than that."""
        standing, model, layers = latency.standing, latency.model, latency.meter.layers
        assert standing is not None
        assert model is not None
        return cls(
            target=str(latency.meter.target),
            fingerprint=latency.device.fingerprint,
            facts=dict(latency.device.facts),
            steps=latency.steps,
            layers=len(layers),
            timed=sum(layer.key in latency.grids for layer in layers),
            measured=standing.measured,
            reused=standing.reused,
            busy=standing.busy,
            asked=asked,
            error=standing.error if math.isfinite(standing.error) else None,
            models=model.fit.models,
            fit_error=model.fit.error,
            seconds=latency.seconds,
        )

    @property
    def reached(self) -> bool:
        """Whether the tables are as exact as was asked; if not, time ran out."""
        return self.error is not None and self.error <= self.asked

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self) | {"steps": list(self.steps), "reached": self.reached}
