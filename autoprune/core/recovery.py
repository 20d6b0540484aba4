"""How a pruned candidate is brought back before it is judged."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from autoprune.errors import ConfigError

Schedule = Literal["linear", "constant", "cosine"]
ScoreBy = Literal["loss", "metric", "kl"]
_CHOICES = {"shrink_schedule": get_args(Schedule), "score_by": get_args(ScoreBy)}
_LEAST = {
    "score_steps": 0,
    "recover_steps": 0,
    "finalists": 1,
    "calibration_batches": 1,
    "shrink_steps": 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Settings of the short recovery in scoring and the longer one of the finalists.

    Fine-tuning is SGD with momentum and a learning rate that falls to 0 along a cosine.

    Args:
        score_steps: Training steps before a candidate is scored.
        score_by: What ranks candidates on the search split: the ``loss``, the ``metric``, or
            ``kl``, the divergence of their outputs from the dense model's.
        recover_steps: Training steps of each finalist.
        finalists: How many of the best candidates are recovered.
        learning_rate: Learning rate at the start.
        momentum: Momentum, in ``[0, 1)``.
        weight_decay: L2 penalty.
        calibration_batches: Training batches for statistics of norms and for gradients.
        shrink_steps: Training steps of the dense model before a cut, for units whose criterion is
            ``regularised_l1`` or ``regularised_l2``: what is to be cut shrinks meanwhile.
        shrink_strength: How fast at the end of them: a step takes learning rate x strength from
            every weight, or from the root mean square of a group's weights.
        shrink_schedule: How the strength gets there: ``linear`` or ``cosine`` from 0, or
            ``constant``.

    Raises:
        ConfigError: If a value is out of range.
    """

    score_steps: int = 30
    score_by: ScoreBy = "loss"
    recover_steps: int = 200
    finalists: int = 3
    learning_rate: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 5e-4
    calibration_batches: int = 16
    shrink_steps: int = 30
    shrink_strength: float = 1.0
    shrink_schedule: Schedule = "linear"

    def __post_init__(self) -> None:
        for field in (field for field in fields(self) if field.name not in _CHOICES):
            value, low = getattr(self, field.name), _LEAST.get(field.name, 0)
            whole = field.name in _LEAST and not isinstance(value, int)
            if isinstance(value, bool) or whole or not low <= value < float("inf"):
                kind = "whole number" if field.name in _LEAST else "number"
                raise ConfigError(
                    f"recovery.{field.name} must be a {kind} of at least {low}. Got {value!r}."
                )
        if self.momentum >= 1:
            raise ConfigError(f"recovery.momentum must be below 1. Got {self.momentum!r}.")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"recovery.{name} must be one of {', '.join(allowed)}. "
                    f"Got {getattr(self, name)!r}."
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)
