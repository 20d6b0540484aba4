"""Latency in a search: tables before it, whole models measured near the limit, all kept."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
from torch import nn

from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.target import Target
from autoprune.cost.latency.build import Standing
from autoprune.cost.latency.device import Device, this_device
from autoprune.cost.latency.graph import varied
from autoprune.cost.latency.grid import Grid
from autoprune.cost.latency.layers import KeptLevels
from autoprune.cost.latency.meter import Meter
from autoprune.cost.latency.model import LatencyModel
from autoprune.cost.latency.saved import from_dict, to_dict
from autoprune.cost.latency.timing import measure
from autoprune.storage.database import Database
from autoprune.storage.latencies import Latencies
from autoprune.surgery.nested import Inputs
from autoprune.surgery.plan import Plan

ERROR, LIMIT_S = 0.03, 300.0  # share by which tables may be wrong, seconds for one table
VARIED = 6  # whole models that the first fit is made of
Saved = dict[str, Any]


@dataclass
class TargetLatency:
    """What is known of one model's latency on one target.

    Args:
        meter: What measures.
        device: What it is measured on.
        steps: The smaller and the larger step of channels in which latency rises.
        grids: The tables.
        model: What prices policies.
        standing: How good the tables are; None if they were stored by an earlier session.
        seconds: What all of it took.
    """

    meter: Meter
    device: Device
    steps: tuple[int, int] = (1, 1)
    grids: dict[str, Grid] = field(default_factory=dict)
    model: LatencyModel | None = None
    standing: Standing | None = None
    seconds: float = 0.0
    _pace: float = 1.0
    _rows: list[Any] = field(default_factory=list)
    _seconds: list[float] = field(default_factory=list)

    @classmethod
    def of(
        cls, model: nn.Module, plan: Plan, inputs: Inputs, target: Target, database: Database
    ) -> "TargetLatency":
        """Find the device on which it runs; raises `InputError` if the target cannot run here."""
        device = this_device(target)
        meter = Meter.of(model, plan, inputs, target, Latencies(database, device.facts, target))
        return cls(meter, device)

    def find_steps(self) -> tuple[int, int]:
        """Measure, keep and return the steps."""
        with self._counted():
            self.steps = self.meter.steps()
        return self.steps

    def build(
        self,
        kept: KeptLevels,
        progress: ProgressCallback,
        *,
        error: float = ERROR,
        limit_s: float = LIMIT_S,
        seed: int = 0,
    ) -> LatencyModel:
        """Build the tables, fit them to whole models that differ, and return what prices.

        Args:
            kept: Atoms kept at each level, by unit.
            progress: Told how it goes on.
            error: Share of the layers' time by which the tables may be wrong.
            limit_s: Seconds after which building stops all the same.
            seed: Chooses the whole models.
        """
        target = str(self.meter.target)

        def told(now: Standing) -> None:
            progress(_table_progress(target, now, error, limit_s))

        with self._counted():
            self.grids, self.standing = self.meter.tables(
                kept, error=error, limit_s=limit_s, told=told
            )
        self.model = self.meter.latency_model(self.grids)
        self.fit(varied(kept, VARIED, np.random.default_rng(seed)), progress)
        return self.model

    @property
    def dense_s(self) -> float:
        """Seconds of a forward of the dense model when it was first measured."""
        return float(self.meter.whole([{}])[1][0])

    def fit(self, policies: Sequence[Mapping[str, int]], progress: ProgressCallback) -> None:
        """Measure whole models of ``policies`` too, and fit to all that were measured."""
        assert self.model is not None

        with self._counted():
            rows, seconds = self.meter.whole(
                policies, whole_models(progress, str(self.meter.target))
            )
        self._rows += list(rows)
        self._seconds += list(seconds)
        self.model.adjust(np.array(self._rows), np.array(self._seconds))
        self._keep_pace()

    def take_pace(self) -> None:
        """Measure the dense model now and price by that: the device may be slower than it was.

        What is stored is in the seconds of the day when the dense model was first measured; a
        limit in milliseconds is about today's.
        """
        meter = self.meter
        with self._counted(), meter.runtime.open(meter.model, meter.inputs, meter.target) as dense:
            self._pace = measure(dense).seconds / self.dense_s
        self._keep_pace()

    def _keep_pace(self) -> None:
        assert self.model is not None
        fit = self.model.fit
        self.model.fit = replace(fit, weights=tuple(one * self._pace for one in fit.weights))

    def seen(self, policy: Mapping[str, int]) -> bool:
        """Tell whether the fit knows a model of a policy's shapes, given as atoms kept."""
        atoms, shaping = self.meter.plan.atoms, self.meter.plan.units
        aim = [(i, policy.get(u, n)) for i, (u, n) in enumerate(atoms.items()) if u in shaping]
        return any(all(row[i] == count for i, count in aim) for row in self._rows)

    def saved(self) -> Saved:
        """Return all of it as plain JSON types."""
        assert self.model is not None
        return to_dict(self.device, self.steps, self.grids, self.model.fit)

    def load(self, saved: Saved) -> LatencyModel:
        """Take what an earlier session saved; raises `ConfigError` for another device's."""
        self.steps, self.grids, fit = from_dict(saved, self.device)
        self.model = self.meter.latency_model(self.grids)
        self.model.fit = fit
        return self.model

    @contextmanager
    def _counted(self) -> Iterator[None]:
        start = perf_counter()
        yield
        self.seconds += perf_counter() - start


def whole_models(progress: ProgressCallback, target: str) -> Callable[[int, int], None]:
    """Return what tells how many whole models of how many were measured, and the time left."""
    start = perf_counter()

    def told(done: int, of: int) -> None:
        left = (perf_counter() - start) / done * (of - done) if done else None
        progress(Progress(stage="latency", done=done, total=of, seconds_left=left, target=target))

    return told


def _table_progress(target: str, now: Standing, error: float, limit_s: float) -> Progress:
    """Return how far the tables are; once every gap was looked into, the limit is what is left."""
    done, more = now.measured + now.reused, now.open or int(now.error > error)
    left = max(limit_s - now.seconds, 0.0)
    if now.measured and now.open:
        left = min(left, now.seconds / done * now.open)
    note = None
    if now.busy > max(now.measured, 10) // 2:
        note = (
            f"the device does other work too: times on {target} vary widely, so their medians are "
            "less sure"
        )
    return Progress(
        stage="latency",
        done=done,
        total=done + more,
        seconds_left=left if more else None,
        target=target,
        note=note,
    )
