"""What every task promises; built-in ones pass the same tests."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import call, floats_in, tensors_in
from autoprune.surgery.tensors import copied
from autoprune.tasks import Task
from autoprune.tasks.base import SPLITS
from autoprune.tasks.chunks import chunks


class TaskContract:
    """Subclass it, return your task and a model from `make`, and let pytest collect the subclass.

    >>> class TestMine(TaskContract):
    ...     def make(self) -> tuple[Task, nn.Module]:
    ...         return Mine(loaders()), net()
    """

    def make(self) -> tuple[Task, nn.Module]:
        """Return the task over few samples, at least two in a batch, and a model in eval mode."""
        raise NotImplementedError

    def test_it_says_what_it_is(self) -> None:
        task, _ = self.make()
        assert task.name, "name must be the registered one"
        assert task.metric_name, "metric_name is for people"
        assert isinstance(task.higher_is_better, bool), "higher_is_better must be True or False"
        assert isinstance(task.is_share, bool), "is_share must be True or False"
        assert isinstance(task.has_loss, bool), "has_loss must be True or False"
        assert task.forwards >= 1, "forwards must be at least 1"
        assert json.loads(json.dumps(dict(task.settings))) == task.settings, "plain JSON types"

    def test_every_split_can_be_read_again(self) -> None:
        task, _ = self.make()
        for split in SPLITS:
            counts = [[task.samples(batch) for batch in task.batches(split)] for _ in range(2)]
            assert counts[0] == counts[1], f"{split} changes its batches"
            assert counts[0], f"{split} is empty"
            assert min(counts[0]) >= 1, f"{split} has a batch without samples"
            assert task.loader(split) is task.loader(split), "loader returns the user's own"

    def test_the_model_takes_what_it_is_given(self) -> None:
        task, model = self.make()
        with torch.no_grad():
            for inputs in (self.traced(task), task.inputs(self.batch(task))):
                assert all(bool(torch.isfinite(x).all()) for x in floats_in(call(model, inputs)))

    def traced(self, task: Task) -> Any:
        """Return the arguments of a forward that surgery looks at."""
        inputs = task.trace_inputs(2)
        assert any(True for _ in tensors_in(inputs)), "trace_inputs must hold a tensor"
        return inputs

    def batch(self, task: Task) -> Any:
        """Return a batch of the search split."""
        return next(iter(task.batches("search")))

    def test_a_measurement_is_finite_repeats_and_leaves_the_model_alone(self) -> None:
        task, model = self.make()
        before, modes = copied(model).state_dict(), [m.training for m in model.modules()]
        found = []
        for _ in range(2):
            metric, losses = task.metric(), []
            with evaluating(model), torch.no_grad():
                for batch in task.batches("search"):
                    outputs = task.outputs(model, batch)
                    task.check_outputs(outputs, batch)
                    losses.append(float(task.loss(outputs, batch)))
                    metric.update(outputs, batch)
            found.append((losses, metric.compute()))
        assert found[0] == found[1], "the same model has the same loss and metric"
        assert all(map(math.isfinite, [*found[0][0], found[0][1]])), f"not finite: {found[0]}"
        assert [m.training for m in model.modules()] == modes, "modes of modules were changed"
        after = model.state_dict()
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())

    def test_the_model_runs_as_often_as_it_says(self) -> None:
        task, model = self.make()
        batch = self.batch(task)
        samples = task.samples(batch)
        with evaluating(model), _counting(model) as seen, torch.no_grad():
            task.outputs(model, batch)
        assert sum(seen) <= task.forwards * samples, (
            f"forwards is {task.forwards}, and of {samples} samples there were forwards of {seen}"
        )
        if not task.has_loss:
            return
        with evaluating(model), _counting(model) as seen, torch.enable_grad():
            task.loss(task.outputs(model, batch), batch)
        assert sum(seen) <= samples, (
            f"with gradients a loss takes one forward, and of {samples} samples there were "
            f"forwards of {seen}"
        )

    def test_parts_of_a_batch_are_batches(self) -> None:
        task, model = self.make()
        batch = self.batch(task)
        samples = task.samples(batch)
        assert samples >= 2, "make must give batches of two samples or more"
        parts = chunks(batch, samples, -(-samples // 2))
        counts = [task.samples(part) for part in parts]
        assert sum(counts) == samples, f"samples of the parts are {counts}, of the whole {samples}"
        with evaluating(model), torch.no_grad():
            whole = task.outputs(model, batch)
            cut = chunks(whole, samples, -(-samples // 2))
            for number, part in enumerate(parts):
                metric, outputs = task.metric(), task.outputs(model, part)
                metric.update(outputs, part)
                assert math.isfinite(metric.compute()), "the metric of a part is not finite"
                loss = float(task.loss(outputs, part))
                assert math.isfinite(loss), "the loss of a part is not finite"
                if len(cut) == len(parts):
                    sliced = float(task.loss(cut[number], part))
                    assert math.isclose(sliced, loss, rel_tol=1e-3, abs_tol=1e-5), (
                        "the loss of a part's outputs is that of the whole's outputs, cut alike"
                    )

    def test_a_metric_is_fresh(self) -> None:
        task, model = self.make()
        batch = self.batch(task)
        with evaluating(model), torch.no_grad():
            outputs = task.outputs(model, batch)
        first, second = task.metric(), task.metric()
        for _ in range(2):
            first.update(outputs, batch)
        second.update(outputs, batch)
        again = task.metric()
        again.update(outputs, batch)
        assert second.compute() == again.compute(), "metrics share what they gathered"

    def test_gradients_flow_in_training_and_in_eval_mode(self) -> None:
        task, model = self.make()
        if not task.has_loss:
            return
        batch = next(iter(task.batches("train")))
        for training in (True, False):
            twin = copied(model).train(training)
            loss = task.loss(task.outputs(twin, batch), batch)
            assert loss.shape == (), f"a loss is a scalar, not {tuple(loss.shape)}"
            grads = torch.autograd.grad(loss, list(twin.parameters()), allow_unused=True)
            assert any(g is not None and bool(g.any()) for g in grads), "no gradient anywhere"


@contextmanager
def _counting(model: nn.Module) -> Iterator[list[int]]:
    """Gather the samples of each forward of the model: the length of its first argument."""
    seen: list[int] = []

    def count(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append(len(next(iter((*args, *named.values())))))

    handle = model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()
