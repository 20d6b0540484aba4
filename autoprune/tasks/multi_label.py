"""Multi-label classification: binary cross-entropy, mean average precision or F1."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.functional.classification import binary_average_precision, binary_f1_score

from autoprune._hints import did_you_mean
from autoprune.errors import ConfigError, DataError
from autoprune.tasks.base import TASKS, Split
from autoprune.tasks.labelled import Labelled, classes_named, of_train
from autoprune.tasks.logits import logits_of, total_loss
from autoprune.tasks.weights import check_count, check_weights, weights_of

_METRICS: dict[str, tuple[str, Callable[..., torch.Tensor]]] = {
    "map": ("mAP", binary_average_precision),
    "f1": ("F1", binary_f1_score),
}


class ClassMean:
    """Mean of a binary metric over the classes that have positives, in ``[0, 1]``.

    A split without any positive has the mean 0.

    Args:
        targets: Gives the targets of a batch, ``[samples, classes]``.
        of_class: The metric of probabilities and targets, ``[samples]`` each.
    """

    def __init__(
        self, targets: Callable[[Any], torch.Tensor], of_class: Callable[..., torch.Tensor]
    ) -> None:
        self._targets, self._of_class = targets, of_class
        self._seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, outputs: Any, batch: Any) -> None:
        """Take in outputs with logits ``[samples, classes]`` and their batch."""
        logits = logits_of(outputs)
        assert logits is not None
        # In double precision: only logits that are far apart become the same probability, 1.
        probabilities = logits.detach().cpu().double().sigmoid()
        self._seen.append((probabilities, self._targets(batch).cpu().long()))

    def compute(self) -> float:
        """Return the mean over the classes that have positives."""
        both = [torch.cat(parts).T.contiguous() for parts in zip(*self._seen, strict=True)]
        values = [
            float(self._of_class(probabilities, targets, validate_args=False))
            for probabilities, targets in zip(*both, strict=True)
            if targets.any()
        ]
        return sum(values) / len(values) if values else 0.0

    def notes(self) -> list[str]:
        """Return what the samples taken in lack; see `HasNotes.notes`."""
        positive = torch.stack([targets.any(0) for _, targets in self._seen]).any(0)
        absent = (~positive).nonzero()[:, 0]
        return [f"no positive sample of {classes_named(absent)}"] if len(absent) else []


class MultiLabel(Labelled):
    """Images with any number of classes each.

    The loss is the mean over samples and classes of the binary cross-entropy. There are no
    `logits` as `HasLogits` means them: they are no softmaxed distribution over classes.

    Args:
        data: Mapping of ``train``, ``search`` and ``test`` to loaders that yield
            ``(images, targets)``: floats ``[samples, ...]`` and floats, integers or booleans
            ``[samples, classes]`` of 0 and 1, or mappings of the model's arguments with the
            targets beside them as ``labels``.
        metric: ``"map"``, average precision, or ``"f1"`` at a probability of 0.5; the mean over
            classes, those without positives left out.
        positive_weights: A positive factor of each class's loss where its target is 1, or
            ``"balanced"``: negatives / positives, counted here and now in one pass of the train
            split. A class that lacks either there has weight 1.

    Raises:
        ConfigError: If a setting has no meaning.
        DataError: If a split is missing or cannot be iterated over again.
    """

    name = "multi-label"
    is_share = True
    noun = "targets"
    form = "targets [samples, classes] of 0 and 1"

    def __init__(self, data: Any, *, metric: str = "map", positive_weights: Any = None) -> None:
        super().__init__(data)
        if not isinstance(metric, str) or metric not in _METRICS:
            raise ConfigError(
                f"metric must be {' or '.join(map(repr, _METRICS))}. Got {metric!r}."
                f"{did_you_mean(str(metric), _METRICS, listed=True)}"
            )
        self._metric = metric
        self._given = check_weights(positive_weights, "positive_weights")
        self._weights = weights_of(self._given, self._balancing)
        self.metric_name = _METRICS[metric][0]

    @property
    def settings(self) -> Mapping[str, Any]:
        """What differs from the defaults; see `Task.settings`."""
        given = {"metric": (self._metric, "map"), "positive_weights": (self._given, None)}
        return {name: value for name, (value, usual) in given.items() if value != usual}

    def fits(self, targets: torch.Tensor) -> bool:
        """Tell whether they are ``[samples, classes]``."""
        return targets.ndim == 2 and not targets.is_complex()

    def check_batch(self, batch: Any, split: Split) -> None:
        """Raise `DataError` unless it holds images and targets of 0 and 1."""
        super().check_batch(batch, split)
        targets = self.targets(batch)
        odd = targets[(targets != 0) & (targets != 1)]
        if len(odd):
            raise DataError(
                f"The {split} targets must be 0 and 1, whether a sample has a label. "
                f"{len(odd)} of {targets.numel()} in a batch are not, {float(odd[0]):g} for one."
            )

    def loss(self, outputs: Any, batch: Any) -> torch.Tensor:
        """Return the mean over samples and classes; see `Task.loss`.

        Raises:
            DataError: If there is not one output for each target.
        """
        targets = self.targets(batch)

        def loss(logits: torch.Tensor) -> torch.Tensor:
            weights = None if self._weights is None else self._weights.to(logits)
            return binary_cross_entropy_with_logits(logits, targets.to(logits), pos_weight=weights)

        try:
            return total_loss(loss, outputs)
        except ValueError:
            self.check_outputs(outputs, batch)
            raise

    def classes(self, batch: Any) -> set[int]:
        """Return the classes that have a positive; see `HasClasses`."""
        return {*self.targets(batch).any(0).nonzero()[:, 0].tolist()}

    def metric(self) -> ClassMean:
        """Return a fresh metric; see `Task.metric`."""
        return ClassMean(self.targets, _METRICS[self._metric][1])

    def check_outputs(self, outputs: Any, batch: Any) -> None:
        """Refuse outputs that do not have the shape of the targets, and settings that do not.

        Raises:
            DataError: If there is not one output for each target.
            ConfigError: If there is not one weight for each output.
        """
        super().check_outputs(outputs, batch)
        logits, targets = logits_of(outputs), self.targets(batch)
        assert logits is not None
        if logits.shape != targets.shape:
            raise DataError(
                f"The model has {logits.shape[1]} outputs for targets of {targets.shape[1]} "
                "classes. Each class needs one output."
            )
        if self._weights is not None:
            check_count(self._weights, self._given, logits.shape[1], "positive_weights")

    def _balancing(self) -> torch.Tensor:
        """Return weights that give positives and negatives of a class the same sum."""
        counts = of_train(self, lambda one: torch.stack([(one == 0).sum(0), (one == 1).sum(0)]))
        negatives, positives = torch.stack(counts).sum(0)
        there = (negatives > 0) & (positives > 0)
        return torch.where(there, negatives / positives.clamp(min=1), 1.0)


TASKS.add("multi-label", MultiLabel)
