"""Everything that is measured of one model on one target."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from autoprune.core.arrays import Floats
from autoprune.core.fingerprint import fingerprint
from autoprune.core.target import Target
from autoprune.cost.latency.build import Standing, Store, TableBuilder
from autoprune.cost.latency.candidates import candidates
from autoprune.cost.latency.graph import EndToEnd
from autoprune.cost.latency.grid import Grid
from autoprune.cost.latency.layers import KeptLevels, Layer, layers_of
from autoprune.cost.latency.model import LatencyModel
from autoprune.cost.latency.observations import Comparison, Timing
from autoprune.cost.latency.runtimes import Runtime, find_runtime
from autoprune.cost.latency.runtimes.prepare import batched
from autoprune.cost.latency.staircase import find_step
from autoprune.surgery.discover import plan_of
from autoprune.surgery.ids import Ids
from autoprune.surgery.nested import Inputs
from autoprune.surgery.plan import Plan

_WINDOW = 36  # numbers of channels next to each other that show a step of 16 twice
_PAIRS_S = 1.5  # seconds for which a whole model is compared with the dense one


@dataclass(frozen=True)
class Meter:
    """Measures layers of a model, and the model as a whole, on one target.

    Args:
        model: The dense model, on the CPU.
        plan: Its plan.
        traced: Plan of a trace with the target's batch, with the units of ``plan``.
        inputs: Arguments of one forward.
        target: What runs it, and how.
        runtime: The runtime of the target.
        store: What was measured before on this device, and what is measured now.
    """

    model: nn.Module
    plan: Plan
    traced: Plan
    inputs: Inputs
    target: Target
    runtime: Runtime
    store: Store

    @classmethod
    def of(
        cls, model: nn.Module, plan: Plan, inputs: Inputs, target: Target, store: Store
    ) -> "Meter":
        """Return the meter of a model; raises `InputError` if the target cannot run it here."""
        traced = plan_of(model, batched(inputs, target.batch))
        strange = traced.units.keys() - plan.units.keys()
        traced = traced.without(dict.fromkeys(strange, "is no unit of the plan"))
        return cls(model, plan, traced, inputs, target, find_runtime(target), store)

    @cached_property
    def layers(self) -> list[Layer]:
        """Every op of the model that multiplies and adds."""
        return layers_of(self.traced)

    def steps(self) -> tuple[int, int]:
        """Return the smaller and the larger of the steps in which latency rises with channels.

        They are those of the channels read and of the channels made, in the costliest layer.
        """
        layers, terms = self.layers, [term for term in self.traced.terms if term.operands]
        dense = {name: unit.atoms for name, unit in self.traced.units.items()}
        able = [
            (term.coefficient * np.prod([f.value(dense) for f in term.factors]), number)
            for number, term in enumerate(terms)
            if layers[number].weight and layers[number].variables
        ]
        if not able:
            return 1, 1
        layer = layers[max(able)[1]]
        sizes = [variable.value(dense) for variable in layer.variables]
        found = [self._step(layer, sizes, axis) for axis in range(len(sizes))]
        return min(found), max(found)

    def _step(self, layer: Layer, sizes: Sequence[int], axis: int) -> int:
        top = min(sizes[axis], 4 * _WINDOW)
        points = [
            (*sizes[:axis], size, *sizes[axis + 1 :])
            for size in range(max(top - _WINDOW, 0) + 1, top + 1)
        ]
        known = self.store.known(layer.key)
        for at in points:
            if at not in known:
                timing = self.runtime.time_call(layer.call(at), self.target)
                if timing is None:
                    return 1
                self.store.add(layer.key, at, timing)
                known[at] = timing.seconds
        return find_step({at[axis]: known[at] for at in points})

    def tables(
        self,
        kept: KeptLevels,
        *,
        error: float,
        limit_s: float,
        told: Callable[[Standing], object] = lambda standing: None,
    ) -> tuple[dict[str, Grid], Standing]:
        """Return tables of the layers over the sizes that ``kept`` allows, and how good they are.

        Args:
            kept: Atoms kept at each level, by unit.
            error: Share of the layers' time by which they may be wrong.
            limit_s: Seconds after which it stops all the same.
            told: Told after every line that was measured.
        """
        builder = TableBuilder(self.runtime, self.target, self.store, told)
        layers = self.layers
        return builder.build(layers, candidates(layers, kept), error=error, limit_s=limit_s)

    def latency_model(self, grids: Mapping[str, Grid]) -> LatencyModel:
        """Return what prices policies, not yet fitted to whole models."""
        return LatencyModel(self.traced, list(self.plan.atoms), self.layers, grids)

    def whole(
        self,
        policies: Sequence[Mapping[str, int]],
        told: Callable[[int, int], object] = lambda done, of: None,
    ) -> tuple[Ids, Floats]:
        """Return policies as rows of atoms kept, and the seconds that whole models of them take.

        Each is measured in pairs with the dense model and given in the seconds that the dense
        model took when it was first measured, so that a machine that becomes slower or faster
        meanwhile does not count.
        """
        rows = self.rows(policies)
        keys = [tuple(row) for row in rows.tolist()]
        known = self.store.known(self._graph)
        todo = [number for number, key in enumerate(keys) if key not in known]
        found = self._pairs([policies[number] for number in todo], told) if todo else []
        dense = tuple(self.plan.atoms.values())
        if found and dense not in known:
            anchor = Timing.of([one.dense_s for one in found])
            self.store.add(self._graph, dense, anchor)
            known[dense] = anchor.seconds
        for number, one in zip(todo, found, strict=True):
            if keys[number] != dense:
                scaled = one.scaled(known[dense])
                self.store.add(self._graph, keys[number], scaled)
                known[keys[number]] = scaled.seconds
        return rows, np.array([known[key] for key in keys])

    def rows(self, policies: Sequence[Mapping[str, int]]) -> Ids:
        """Return policies as rows of atoms kept, in the order of the plan's units."""
        atoms = self.plan.atoms.items()
        return np.array([[policy.get(unit, n) for unit, n in atoms] for policy in policies])

    def against_dense(self) -> AbstractContextManager[EndToEnd]:
        """Load the dense model, for as long as others are compared with it."""
        return EndToEnd.open(self.model, self.plan, self.inputs, self.runtime, self.target)

    def _pairs(
        self, policies: Sequence[Mapping[str, int]], told: Callable[[int, int], object]
    ) -> list[Comparison]:
        found: list[Comparison] = []
        with self.against_dense() as pairs:
            for policy in policies:
                found.append(pairs.compare(pairs.cut(policy), _PAIRS_S))
                told(len(found), len(policies))
        return found

    @cached_property
    def _graph(self) -> str:
        """Name under which whole models of this one are kept."""
        form: list[Any] = [
            [layer.key for layer in self.layers],
            [piece.op for piece in self.traced.activations],
            [type(module).__qualname__ for module in self.model.modules()],
        ]
        return f"graph {fingerprint([form, sorted(self.plan.shapes), list(self.plan.atoms)])}"
