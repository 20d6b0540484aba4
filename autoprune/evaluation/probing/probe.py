"""Probe units: cut one alone, recalibrate what comes after it, measure what it gives up."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from autoprune.core.fingerprint import fingerprint, seed_from
from autoprune.core.policy import Policy
from autoprune.core.probing import Probing
from autoprune.core.user_code import blame
from autoprune.errors import CandidateError, DataError
from autoprune.evaluation.probing.drawn import Batch, drawn
from autoprune.evaluation.probing.forwards import MismatchError, Outputs
from autoprune.evaluation.probing.order import order_of
from autoprune.evaluation.probing.prefix import LIMIT, Prefix, run_after
from autoprune.evaluation.probing.probed import Probed, UnderProbe, paired, same
from autoprune.evaluation.randomness import isolated
from autoprune.evaluation.reconstruction.recalibrate import averaging, norms_of
from autoprune.evaluation.scoring.scorer import Scorer
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import forward, fresh, tensors_in
from autoprune.surgery.units import inside
from autoprune.tasks.chunks import first_samples

PROBE_VERSION = 3
TOGETHER = 8  # models that are held at once
TRACED = 2  # samples that the course of the model is seen on

Run = Callable[[], object]


def probe_fingerprint(scorer: Scorer, probing: Probing) -> str:
    """Return the identity of this way of probing: its version, settings, and how atoms rank."""
    batches = scorer.recovery.calibration_batches
    way = [PROBE_VERSION, probing.samples, probing.calibration, batches, scorer.seed]
    return fingerprint(way)


class Prober:
    """Probes policies that cut one unit, on the same samples as the dense model.

    Batches are drawn once and kept. What runs before the first layer that a unit touches is the
    dense model's, and is run once for all probes of the unit, or of later ones.

    Args:
        scorer: What builds the models; its task has the data.
        probing: The settings.
        limit: Bytes of shared activations that are kept; 0 shares nothing.

    Raises:
        DataError: If a loader fails, or the dense model's loss is NaN or infinite.
    """

    def __init__(self, scorer: Scorer, probing: Probing, limit: int = LIMIT) -> None:
        start = time.perf_counter()
        self._scorer, self._task = scorer, scorer.task
        self._seed = seed_from(scorer.seed, "probe")
        self._train, self._search = drawn(self._task, probing, self._seed, scorer.device)
        self.samples = sum(batch.samples for batch in self._search)
        first = self._search[0]
        few = first_samples(first.content, first.samples, min(TRACED, first.samples))
        traced = self._task.samples(few)
        order = order_of(scorer.model, self._task.inputs(few))
        # Fused layers have no formula, but the cost model, which takes them apart, counts them.
        self.order = replace(order, macs=max(order.macs, traced * scorer.cost.dense.macs))
        self._prefix = Prefix(
            scorer.model,
            self.order,
            [(batch.inputs, batch.samples) for batch in (*self._train, *self._search)],
            traced,
            limit if self._task.one_forward else 0,
        )
        self._alone, self._checked = set[str](), set[str]()  # units that share nothing; that may
        dense = UnderProbe(Policy({}), 1.0, scorer.model, self._task.metric())
        with self._ready(scorer.model):
            self._measure([dense])
        if dense.reason is not None:
            raise DataError(
                f"The dense model cannot be measured: {dense.reason} Check the checkpoint, and "
                "the search split for samples that are not finite."
            )
        self._dense = np.array(dense.losses)
        self.dense = self._found(dense, 0.0, time.perf_counter() - start)

    def first_touch(self, unit: str) -> int:
        """Return the time in the dense model's course at which a unit matters first."""
        plan = self._scorer.plan
        found = plan.units.get(unit) or plan.weights[unit]
        if found.kind == "block":
            own = [n for n in self.order.uses if inside(n, found.members[0])]
            return min(self.order.first_call(found.members[0]), self.order.first_use(own))
        return self.order.first_use([*(s.tensor for s in found.slices), *found.members])

    def work(self, unit: str) -> float:
        """Return the share of the dense model's multiply-adds that a probe of a unit runs."""
        shared = sum(one.macs for one in self.order.replaceable(self.first_touch(unit)))
        return 1 - shared / max(self.order.macs, 1)

    def probe(self, unit: str, policies: Sequence[Policy]) -> list[Probed]:
        """Return what each policy, which cuts ``unit`` alone, was found to give.

        Raises:
            InputError: If the task refuses outputs or targets, or memory runs out.
        """
        found = []
        for at in range(0, len(policies), TOGETHER):
            own = policies[at : at + TOGETHER]
            try:
                found += self._together(unit, own, shared=unit not in self._alone)
            except MismatchError:  # the forward does not go by its modules: run all of it
                self._alone.add(unit)
                found += self._together(unit, own, shared=False)
        return found

    def _together(self, unit: str, policies: Sequence[Policy], *, shared: bool) -> list[Probed]:
        start, before = time.perf_counter(), self._prefix.sample_forwards
        touched = self.first_touch(unit)
        self._prefix.move(touched if shared else 0)
        candidates = [self._candidate(policy) for policy in policies]
        with self._ready(self._scorer.model):
            if shared and unit not in self._checked:
                self._check(candidates[0])
                self._checked.add(unit)
            self._calibrate(candidates, touched)
            self._measure(candidates)
        recorded = (self._prefix.sample_forwards - before) / len(candidates)
        seconds = (time.perf_counter() - start) / len(candidates)
        return [self._found(one, recorded, seconds) for one in candidates]

    def _candidate(self, policy: Policy) -> UnderProbe:
        one = UnderProbe(policy, self._scorer.share(policy), metric=self._task.metric())
        with one.trying():
            one.model = self._scorer.build(policy).eval()
        return one

    @contextmanager
    def _ready(self, model: nn.Module) -> Iterator[None]:
        with isolated(self._seed), evaluating(model), torch.no_grad():
            yield

    def _check(self, one: UnderProbe) -> None:
        """Raise `MismatchError` if a shared forward gives something else than a whole one."""
        number, batch = len(self._train), self._search[0]
        outputs = self._prefix.outputs(number)
        if not outputs or one.model is None:
            return
        with one.trying():
            whole = [*tensors_in(self._run(one, batch, {}))]
        if one.reason is not None:
            return
        try:
            again = [*tensors_in(self._run(one, batch, outputs))]
        except Exception as err:  # the user's forward may raise anything
            raise MismatchError(f"A shared forward raises {blame(err)}") from err
        if len(whole) != len(again) or not all(map(same, whole, again)):
            raise MismatchError("A shared forward gives other outputs.")

    def _calibrate(self, candidates: Sequence[UnderProbe], touched: int) -> None:
        untouched = self.order.over(touched)
        with ExitStack() as stack:
            reset = False
            for one in candidates:
                if one.model is not None and one.reason is None:
                    norms = [m for n, m in norms_of(one.model).items() if n not in untouched]
                    stack.enter_context(averaging(norms))
                    reset |= bool(norms)
            for number, batch in enumerate(self._train if reset else ()):
                for one, outputs in self._each(candidates, number):
                    with one.trying():
                        self._average(one, batch, outputs)

    def _measure(self, candidates: Sequence[UnderProbe]) -> None:
        for number, batch in enumerate(self._search, start=len(self._train)):
            for one, outputs in self._each(candidates, number):
                with one.trying():
                    out = self._run(one, batch, outputs)
                    loss = float(self._task.loss(out, batch.content))
                    if not math.isfinite(loss):
                        raise CandidateError(f"The loss on the search split is {loss}.")
                    one.losses.append(loss)
                    assert one.metric is not None
                    one.metric.update(out, batch.content)

    def _each(
        self, candidates: Sequence[UnderProbe], number: int
    ) -> Iterator[tuple[UnderProbe, Outputs]]:
        alive = [one for one in candidates if one.reason is None]
        outputs = self._prefix.outputs(number) if alive else {}
        yield from ((one, outputs) for one in alive)

    def _average(self, one: UnderProbe, batch: Batch, outputs: Outputs) -> None:
        """Run the model alone, as `recalibrate` does: a task may put its norms in eval mode."""
        assert one.model is not None
        self._run_after(one, partial(forward, one.model, batch.inputs), batch, outputs, forwards=1)

    def _run(self, one: UnderProbe, batch: Batch, outputs: Outputs) -> Any:
        assert one.model is not None
        run = partial(self._task.outputs, one.model, fresh(batch.content))
        return self._run_after(one, run, batch, outputs, self._task.forwards)

    def _run_after(
        self, one: UnderProbe, run: Run, batch: Batch, outputs: Outputs, forwards: int
    ) -> Any:
        assert one.model is not None
        torch.manual_seed(self._seed)  # a forward may draw: what it draws depends on no other
        spared = self._prefix.share(outputs)
        one.cost += batch.samples * max(forwards * one.share - spared, 0.0)
        return run_after(one.model, run, outputs)

    def _found(self, one: UnderProbe, recorded: float, seconds: float) -> Probed:
        quality = self._quality(one)
        spent = Probed(
            loss=None,
            quality=None,
            stderr=0.0,
            reason=one.reason,
            sample_forwards=one.cost + recorded,
            seconds=seconds,
        )
        if quality is None:
            return spent
        counts = np.array([batch.samples for batch in self._search])
        dense = self._dense if len(one.policy) else np.array(one.losses)
        loss, stderr = paired(np.array(one.losses), dense, counts)
        return replace(spent, loss=loss, quality=quality, stderr=stderr)

    def _quality(self, one: UnderProbe) -> float | None:
        """Return the metric; None if the probe failed, or fails by what the metric says."""
        if one.reason is not None or one.metric is None:
            return None
        with one.trying():
            quality = one.metric.compute()
            if not math.isfinite(quality):
                raise CandidateError(f"The metric on the search split is {quality}.")
            return quality
        return None
