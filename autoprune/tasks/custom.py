"""Any other task: a function that tells how good a model is on some samples."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.aggregation import MeanMetric

from autoprune.errors import DataError
from autoprune.surgery.nested import Inputs, call, tensors_in
from autoprune.tasks.base import TASKS, Split
from autoprune.tasks.loaded import LoadedTask, described

Evaluate = Callable[[nn.Module, Any], Any]


class Custom(LoadedTask):
    """Whatever a function of yours can score.

    Without a loss of its own a pruned model learns to give what the dense one gives, and methods
    that rank by gradients are left out.

    Args:
        data: Mapping of ``train``, ``search`` and ``test`` to loaders of batches of any form.
        evaluate: ``evaluate(model, batch)`` returns a score for each sample, ``[samples]``, the
            quality being their mean. The model is in eval mode, without gradients.
        loss: ``loss(outputs, batch)`` of what the model returns, a scalar: the mean over samples.
        inputs: ``inputs(batch)`` returns the arguments of the model's forward, a tuple, or a
            mapping by name; left out, a tensor is the argument, a tuple's first entry, or a
            mapping as a whole.
        metric_name: What the score is called.
        higher_is_better: False for scores like an error.
    """

    name = "custom"
    functions = ("evaluate", "loss", "inputs")

    def __init__(
        self,
        data: Any,
        *,
        evaluate: Evaluate,
        loss: Callable[[Any, Any], Tensor] | None = None,
        inputs: Callable[[Any], Inputs] | None = None,
        metric_name: str = "score",
        higher_is_better: bool = True,
    ) -> None:
        super().__init__(data)
        self._evaluate, self._loss, self._inputs = evaluate, loss, inputs
        self.metric_name, self.higher_is_better = metric_name, higher_is_better
        self.has_loss = loss is not None
        self.forwards = 2 if self.has_loss else 1

    @property
    def settings(self) -> Mapping[str, Any]:
        """The functions; see `Task`."""
        functions = {"evaluate": self._evaluate, "loss": self._loss, "inputs": self._inputs}
        return {"higher": self.higher_is_better, **self.identities(**functions)}

    def check_batch(self, batch: Any, split: Split) -> None:
        """Raise `DataError` if a batch holds no sample."""
        if _count(batch) == 0:
            raise DataError(f"The {split} loader yielded a batch without samples.")

    def inputs(self, batch: Any) -> Inputs:
        """Return what the model gets; see `Task.inputs`."""
        if self._inputs is not None:
            return self._inputs(batch)
        if isinstance(batch, Mapping):
            return batch
        return (batch[0],) if isinstance(batch, (tuple, list)) else (batch,)

    def samples(self, batch: Any) -> int:
        """Return the length of the batch's first tensor, or of the batch if it has none."""
        return _count(batch)

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        """Return what the model gives; in eval mode the scores, and that where there is a loss."""
        if model.training:
            return call(model, self.inputs(batch))
        with torch.no_grad():
            scores = self._scores(model, batch)
        if self._loss is None:
            return {"scores": scores}
        return {"scores": scores, "outputs": call(model, self.inputs(batch))}

    def _scores(self, model: nn.Module, batch: Any) -> Tensor:
        found = self._evaluate(model, batch)
        scores = torch.as_tensor(found).detach().double().cpu()
        if scores.shape != (self.samples(batch),):
            raise DataError(
                f"evaluate must return one score for each of the {self.samples(batch)} samples of "
                f"a batch, [samples]. Got {described(found)}."
            )
        return scores if self.higher_is_better else -scores

    def loss(self, outputs: Any, batch: Any) -> Tensor:
        """Return your loss, or minus the mean score; see `Task.loss`."""
        scored = isinstance(outputs, Mapping) and "scores" in outputs
        if self._loss is not None:
            return self._loss(outputs["outputs"] if scored else outputs, batch)
        scores: Tensor = outputs["scores"]
        return -scores.mean()

    def metric(self) -> "MeanScore":
        """Return a fresh mean; see `Task.metric`."""
        return MeanScore()

    def check_outputs(self, outputs: Any, batch: Any) -> None:
        """Raise `DataError` if a score is NaN or infinite."""
        if not bool(torch.isfinite(outputs["scores"]).all()):
            raise DataError("evaluate gave a score that is NaN or infinite for the dense model.")


class MeanScore:
    """The mean of scores."""

    def __init__(self) -> None:
        self._mean = MeanMetric().set_dtype(torch.float64)

    def update(self, outputs: Any, batch: Any) -> None:
        """Take in the scores of a batch."""
        self._mean.update(outputs["scores"])

    def compute(self) -> float:
        """Return the mean of everything taken in."""
        return float(self._mean.compute())


def _count(batch: Any) -> int:
    first = next((x for x in tensors_in(batch) if x.ndim), None)
    return len(batch) if first is None else len(first)


TASKS.add("custom", Custom)
