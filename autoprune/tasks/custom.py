"""Any other task: a function that tells how good a model is on some samples."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.core.words import check_switch
from autoprune.errors import ConfigError, DataError
from autoprune.surgery.modes import evaluating
from autoprune.surgery.nested import Inputs, call, fresh
from autoprune.tasks.base import TASKS, Split
from autoprune.tasks.loaded import LoadedTask, described, function_of_task, scalar_of

SCORES, OUTPUTS = "autoprune.scores", "autoprune.outputs"  # what models do not return
_ROUNDING = 1e-6  # of a share in float32
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
        samples: ``samples(batch)`` returns the number of samples in a batch; left out, it is the
            length of its first tensor or list.
        metric_name: What the score is called.
        higher_is_better: False for scores like an error.
        is_share: True for scores in ``[0, 1]`` that people read in percent, like an accuracy.
            Drops of them are told in points, of others in the unit of the score.
    """

    name = "custom"
    one_forward = False
    functions = ("evaluate", "loss", "inputs", "samples")

    def __init__(
        self,
        data: Any,
        *,
        evaluate: Evaluate,
        loss: Callable[[Any, Any], Tensor] | None = None,
        inputs: Callable[[Any], Inputs] | None = None,
        samples: Callable[[Any], int] | None = None,
        metric_name: str = "score",
        higher_is_better: bool = True,
        is_share: bool = False,
    ) -> None:
        super().__init__(data)
        check_switch("higher_is_better", higher_is_better)
        check_switch("is_share", is_share)
        self._evaluate, self._loss = evaluate, loss
        self._inputs, self._samples = inputs, samples
        self.metric_name, self.higher_is_better = metric_name, higher_is_better
        self.is_share = is_share
        self.has_loss = loss is not None
        self.forwards = 2 if self.has_loss else 1

    @property
    def settings(self) -> Mapping[str, Any]:
        """The functions, and how scores are read; see `Task`."""
        functions = self.identities(
            evaluate=self._evaluate, loss=self._loss, inputs=self._inputs, samples=self._samples
        )
        share = {"is_share": True} if self.is_share else {}
        return {"higher": self.higher_is_better, **share, **functions}

    def check_batch(self, batch: Any, split: Split) -> None:
        """Raise `DataError` if a batch holds no sample."""
        if self.samples(batch) < 1:
            raise DataError(f"The {split} loader yielded a batch without samples.")

    def inputs(self, batch: Any) -> Inputs:
        """Return what the model gets; see `Task.inputs`."""
        if self._inputs is not None:
            return self._own_inputs(batch)
        if isinstance(batch, Mapping):
            return batch
        return (batch[0],) if isinstance(batch, (tuple, list)) else (batch,)

    def _own_inputs(self, batch: Any) -> Inputs:
        assert self._inputs is not None
        with function_of_task("inputs"):
            found = self._inputs(batch)
        if not isinstance(found, (tuple, list, Mapping)):
            raise ConfigError(
                "The task's function 'inputs' must return a tuple of the forward's arguments, or "
                f"a mapping of them by name. Got {described(found)}."
            )
        return found

    def samples(self, batch: Any) -> int:
        """Return what your function says, or the length of the batch's first tensor or list.

        Raises:
            ConfigError: If your function raises or returns no number.
            DataError: If there is none, nor a tensor or a list.
        """
        if self._samples is None:
            return _count(batch)
        with function_of_task("samples"):
            found = self._samples(batch)
        try:
            return int(found)
        except (TypeError, ValueError) as err:
            raise ConfigError(
                "The task's function 'samples' must return the number of samples in a batch. Got "
                f"{described(found)}."
            ) from err

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        """Return what the model gives; in eval mode the scores, and that where there is a loss.

        Where gradients are enabled, there are no scores if there is a loss.
        """
        if model.training or (self.has_loss and torch.is_grad_enabled()):
            return call(model, self.inputs(batch))
        with evaluating(model), torch.no_grad():
            scores = self._scores(model, fresh(batch))
        if self._loss is None:
            return {SCORES: scores}
        return {SCORES: scores, OUTPUTS: call(model, self.inputs(batch))}

    def _scores(self, model: nn.Module, batch: Any) -> Tensor:
        with function_of_task("evaluate"):
            found = self._evaluate(model, batch)
        try:
            scores = torch.as_tensor(found).detach().double().cpu()
        except (TypeError, ValueError, RuntimeError):
            scores = torch.empty(0, 0)
        if scores.shape != (self.samples(batch),):
            raise DataError(
                f"evaluate must return one score for each of the {self.samples(batch)} samples of "
                f"a batch, [samples]. Got {described(found)}."
            )
        return scores if self.higher_is_better else -scores

    def loss(self, outputs: Any, batch: Any) -> Tensor:
        """Return your loss, or minus the mean score; see `Task.loss`."""
        scored = isinstance(outputs, Mapping) and SCORES in outputs
        if self._loss is not None:
            return scalar_of(self._loss, outputs[OUTPUTS] if scored else outputs, batch)
        scores: Tensor = outputs[SCORES]
        return -scores.mean()

    def metric(self) -> "MeanScore":
        """Return a fresh mean; see `Task.metric`."""
        return MeanScore()

    def check_outputs(self, outputs: Any, batch: Any) -> None:
        """Raise `DataError` if a score is NaN or infinite, or no share and said to be one."""
        scores = outputs[SCORES]
        if not bool(torch.isfinite(scores).all()):
            raise DataError("evaluate gave a score that is NaN or infinite for the dense model.")
        shares = scores if self.higher_is_better else -scores
        odd = shares[(shares < -_ROUNDING) | (shares > 1 + _ROUNDING)]
        if self.is_share and len(odd):
            raise DataError(
                f"evaluate gave a score of {float(odd[0]):.7g} for the dense model, and is_share "
                "says that scores are in [0, 1]. Divide them by their highest, or leave is_share "
                "out."
            )


class MeanScore:
    """The mean of scores; NaN if one is, which torchmetrics' `MeanMetric` leaves out."""

    def __init__(self) -> None:
        self._sum, self._samples = 0.0, 0

    def update(self, outputs: Any, batch: Any) -> None:
        """Take in the scores of a batch."""
        self._sum += float(outputs[SCORES].sum())
        self._samples += len(outputs[SCORES])

    def compute(self) -> float:
        """Return the mean of everything taken in."""
        return self._sum / self._samples


def _count(batch: Any) -> int:
    """Return the samples of a batch, or of the first of its parts that has a length."""
    parts: list[Any] = [batch]
    if isinstance(batch, Mapping):
        parts = list(batch.values())
    elif isinstance(batch, tuple) or (isinstance(batch, list) and any(map(_is_part, batch))):
        parts = list(batch)
    first = next(filter(_is_part, parts), None)
    if first is None:
        raise DataError(
            "There is no telling how many samples a batch has, without a tensor or a list. Got "
            f"{described(batch)}. Give the task a function 'samples(batch)'."
        )
    return len(first)


def _is_part(value: Any) -> bool:
    return value.ndim > 0 if isinstance(value, Tensor) else isinstance(value, list)


TASKS.add("custom", Custom)
