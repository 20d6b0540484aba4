"""Activations of the dense model up to a moment, shared by all models that differ only later."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from autoprune.evaluation.probing.forwards import (
    Enough,
    MismatchError,
    Outputs,
    Recorder,
    replayed,
    standing_in,
)
from autoprune.evaluation.probing.order import Call, Order
from autoprune.surgery.nested import Inputs, forward

LIMIT = 512 * 2**20  # bytes


@dataclass(frozen=True)
class _Kept:
    calls: Sequence[Call]
    outputs: Outputs
    size: float


class Prefix:
    """Records what the dense model gives before a moment, batch by batch.

    What was recorded for an earlier moment is played back while more is recorded, so walking
    through a model costs one forward of it. Batches that do not fit the memory are recorded anew
    each time they are asked for.

    Args:
        model: The dense model, in eval mode; left as it is.
        order: Its course.
        batches: Inputs and number of samples of each batch.
        traced: Samples of the batch that the course was seen on.
        limit: Bytes kept at most; a single batch that takes more is not shared.
    """

    def __init__(
        self,
        model: nn.Module,
        order: Order,
        batches: Sequence[tuple[Inputs, int]],
        traced: int,
        limit: int = LIMIT,
    ) -> None:
        self._model, self._order, self._batches = model, order, batches
        self._traced, self._limit = traced, limit
        self._time, self._calls = 0, list[Call]()
        self._kept: dict[int, _Kept] = {}
        self.sample_forwards = 0.0

    def move(self, time: int) -> None:
        """Share from now on what is over at ``time`` of the course."""
        if time < self._time:
            self._kept.clear()
        self._time, self._calls = time, self._order.replaceable(time)

    def share(self, outputs: Outputs) -> float:
        """Return the share of the dense multiply-adds that ``outputs`` of a batch save."""
        return self._macs(self._calls) if outputs else 0.0

    def outputs(self, number: int) -> Outputs:
        """Return the outputs that stand for what is over, for a batch; empty if there are none.

        Raises:
            MismatchError: If the model does not run as it did when it was traced.
        """
        kept = self._kept.get(number)
        if kept is not None and kept.calls == self._calls:
            return kept.outputs
        inputs, samples = self._batches[number]
        size = sum(one.bytes for one in self._calls) * samples / self._traced
        if not self._calls or size > self._limit:
            self._kept.pop(number, None)
            return {}
        outputs = self._record(inputs, kept.outputs if kept else {})
        done = self._calls[-1]
        ran = (done.before + done.macs) / self._order.macs
        self.sample_forwards += samples * (ran - self._macs(kept.calls if kept else ()))
        self._kept.pop(number, None)
        if size + sum(one.size for one in self._kept.values()) <= self._limit:
            self._kept[number] = _Kept(self._calls, outputs, size)
        return outputs

    def _macs(self, calls: Sequence[Call]) -> float:
        return sum(one.macs for one in calls) / max(self._order.macs, 1)

    def _record(self, inputs: Inputs, known: Outputs) -> Outputs:
        recorder = Recorder(len(self._calls))
        makers: dict[str, Callable[..., Callable[..., object]]] = {
            one.module: recorder.make(one.module) for one in self._calls
        }
        try:
            with replayed(self._model, known), standing_in(self._model, makers), torch.no_grad():
                forward(self._model, inputs)
        except Enough:
            return recorder.outputs
        raise MismatchError("The model's forward calls other modules than when it was traced.")


def run_after(model: nn.Module, run: Callable[[], object], outputs: Outputs) -> object:
    """Return what ``run`` gives, with ``outputs`` in place of what they were recorded of.

    Args:
        model: The model that it runs, once.
        run: Runs it.
        outputs: What was recorded; may be empty.

    Raises:
        MismatchError: If the model does not call what they were recorded of.
    """
    if not outputs:
        return run()
    with replayed(model, outputs):
        return run()
