"""Single-label classification: cross-entropy and accuracy."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import cross_entropy, pad

from autoprune.core.numbers import check_at_least
from autoprune.core.words import check_switch
from autoprune.errors import ConfigError, DataError
from autoprune.tasks.accuracy import Accuracy
from autoprune.tasks.base import TASKS, Task
from autoprune.tasks.labelled import Labelled, of_train
from autoprune.tasks.loaded import INTEGERS
from autoprune.tasks.logits import logits_of, total_loss
from autoprune.tasks.weights import check_count, check_weights, weights_of


class Classification(Labelled):
    """Images with one class each.

    The loss is the mean over samples of the cross-entropy, each times the weight of its class.
    PyTorch's weighted mean divides by the sum of the weights instead, so that they cancel where a
    batch, or a part of one, holds one class only; ours is the same however samples are batched.

    Args:
        data: Mapping of ``train``, ``search`` and ``test`` to loaders that yield
            ``(images, classes)``: floats ``[samples, ...]`` and integers ``[samples]``, or
            mappings of the model's arguments with the classes beside them as ``labels``.
        top_k: A sample counts as right if its class is among so many highest outputs.
        balanced: Whether the accuracy is the mean over classes of each one's, those without
            samples left out.
        class_weights: A positive weight for each class, as it is in the loss, or ``"balanced"``:
            ``samples / (classes * samples of the class)``, 1 on average, counted here and now in
            one pass of the train split. A class that has no sample there has weight 1.
        label_smoothing: Share of the target that all classes divide among them, in ``[0, 1)``.

    Raises:
        ConfigError: If a setting has no meaning.
        DataError: If a split is missing or cannot be iterated over again.
    """

    name = "classification"
    is_share = True
    noun = "classes"
    form = "integer classes [samples]"

    def __init__(
        self,
        data: Any,
        *,
        top_k: int = 1,
        balanced: bool = False,
        class_weights: Any = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(data)
        _check_settings(top_k, balanced, label_smoothing)
        self._top_k, self._balanced, self._smoothing = top_k, balanced, float(label_smoothing)
        self._given = check_weights(class_weights, "class_weights")
        self._weights = weights_of(self._given, self._balancing)
        self.metric_name = f"{'balanced ' if balanced else ''}top-{top_k}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What differs from the defaults; see `Task.settings`."""
        given = {
            "top_k": (self._top_k, 1),
            "balanced": (self._balanced, False),
            "class_weights": (self._given, None),
            "label_smoothing": (self._smoothing, 0.0),
        }
        return {name: value for name, (value, usual) in given.items() if value != usual}

    def fits(self, targets: torch.Tensor) -> bool:
        """Tell whether they are integers ``[samples]``."""
        return targets.dtype in INTEGERS and targets.ndim == 1

    def loss(self, outputs: Any, batch: Any) -> torch.Tensor:
        """Return the mean over samples; see the class, and `Task.loss`.

        Raises:
            DataError: If a target is no class of the model.
        """
        classes = self.targets(batch).long()
        try:
            # The loss would leave out -100, and other ones end a process that uses CUDA.
            _check_classes(classes, self.logits(outputs).shape[1])
            return total_loss(lambda logits: self._loss(logits, classes), outputs)
        except IndexError:
            self.check_outputs(outputs, batch)
            raise

    def _loss(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        if self._weights is None:
            return cross_entropy(logits, classes, label_smoothing=self._smoothing)
        lacking = logits.shape[1] - len(self._weights)
        weights = pad(self._weights, (0, lacking), value=1.0).to(logits)
        total = cross_entropy(
            logits, classes, weights, reduction="sum", label_smoothing=self._smoothing
        )
        return total / len(classes)

    def logits(self, outputs: Any) -> torch.Tensor:
        """Return the logits, ``samples x classes``; see `HasLogits.logits`."""
        found = logits_of(outputs)
        assert found is not None
        return found

    def classes(self, batch: Any) -> set[int]:
        """Return the classes of a batch; see `HasClasses`."""
        return {*self.targets(batch).unique().tolist()}

    def labels(self, batch: Any) -> list[int]:
        """Return the class of each sample; see `HasLabels`."""
        found: list[int] = self.targets(batch).tolist()
        return found

    def metric(self) -> Accuracy:
        """Return a fresh accuracy; see `Task.metric`."""
        return Accuracy(self.targets, self._top_k, self._balanced)

    def check_outputs(self, outputs: Any, batch: Any) -> None:
        """Refuse outputs that are not ``[samples, classes]``, targets and settings outside.

        Raises:
            DataError: If outputs have another form, or targets are no classes of the model.
            ConfigError: If settings do not fit the number of outputs.
        """
        super().check_outputs(outputs, batch)
        count = self.logits(outputs).shape[1]
        classes = self.targets(batch)
        _check_classes(classes, count)
        if self._top_k > max(1, count - 1):
            raise ConfigError(
                f"top_k must be less than the number of outputs, {count}, or every answer is "
                f"right. Got {self._top_k}."
            )
        if self._weights is not None:
            check_count(self._weights, self._given, count, "class_weights")
            _check_range(0, len(self._weights) - 1, count)

    def _balancing(self) -> torch.Tensor:
        """Return weights that give each class of the train split the same sum."""
        classes = torch.cat(of_train(self, torch.Tensor.long))
        if int(classes.min()) < 0:
            raise DataError(
                f"In the train split: Targets must be classes from 0 on. Got {int(classes.min())}."
            )
        counts = torch.bincount(classes)
        even = len(classes) / int((counts > 0).sum())
        return torch.where(counts > 0, even / counts.clamp(min=1), 1.0)


def gives_logits(task: Task) -> bool:
    """Tell whether outputs are logits for sure: of a class of a user's own, nobody knows."""
    return type(task) is Classification


def _check_classes(targets: torch.Tensor, classes: int) -> None:
    if not targets.numel():
        return
    low, high = torch.stack(torch.aminmax(targets)).tolist()
    _check_range(low, high, classes)


def _check_range(low: int, high: int, classes: int) -> None:
    if low < 0 or high >= classes:
        raise DataError(
            f"Targets must be classes 0 to {classes - 1}, as the model has {classes} outputs. "
            f"Got {low} to {high}."
        )


def _check_settings(top_k: Any, balanced: Any, label_smoothing: Any) -> None:
    check_at_least("top_k", top_k, 1, int)
    check_switch("balanced", balanced)
    number = isinstance(label_smoothing, (int, float)) and not isinstance(label_smoothing, bool)
    if not number or not 0 <= label_smoothing < 1:
        raise ConfigError(
            f"label_smoothing must be a number from 0 to less than 1. Got {label_smoothing!r}."
        )


TASKS.add("classification", Classification)
