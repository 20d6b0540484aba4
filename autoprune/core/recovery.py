"""How a pruned candidate is brought back before it is judged."""

from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Literal, get_args

from autoprune.errors import ConfigError

Schedule = Literal["linear", "constant", "cosine"]
ScoreBy = Literal["loss", "metric", "kl"]
_CHOICES = {"shrink_schedule": get_args(Schedule), "score_by": get_args(ScoreBy)}
Shares = tuple[tuple[float, float], ...]
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
        stages: Where scoring looks whether to go on: pairs of the share of ``score_steps`` trained
            and the share of the search split measured by then. Neither falls, the last pair is
            (1, 1); a single one, or none, scores every candidate to the end.
        recover_steps: Training steps of each finalist.
        finalists: How many of the best candidates begin to be recovered; the better half of them
            goes on, again and again, until one is left.
        distill: Weight of the divergence from the dense model's outputs in the loss that finalists
            are trained with, 0 for none.
        distill_temperature: What outputs are softened by for it, at least 1.
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
    stages: Shares = ((1 / 3, 1 / 4), (1, 1 / 4), (1, 1))
    recover_steps: int = 200
    finalists: int = 3
    distill: float = 0.0
    distill_temperature: float = 2.0
    learning_rate: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 5e-4
    calibration_batches: int = 16
    shrink_steps: int = 30
    shrink_strength: float = 1.0
    shrink_schedule: Schedule = "linear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", _stages(self.stages))
        others = {*_CHOICES, "stages"}
        for field in (field for field in fields(self) if field.name not in others):
            value, low = getattr(self, field.name), _LEAST.get(field.name, 0)
            whole = field.name in _LEAST and not isinstance(value, int)
            if isinstance(value, bool) or whole or not low <= value < float("inf"):
                kind = "whole number" if field.name in _LEAST else "number"
                raise ConfigError(
                    f"recovery.{field.name} must be a {kind} of at least {low}. Got {value!r}."
                )
        if self.momentum >= 1:
            raise ConfigError(f"recovery.momentum must be below 1. Got {self.momentum!r}.")
        if self.distill_temperature < 1:
            raise ConfigError(
                "recovery.distill_temperature must be at least 1 (softens nothing); up to 4 is "
                f"usual. Got {self.distill_temperature!r}."
            )
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"recovery.{name} must be one of {', '.join(allowed)}. "
                    f"Got {getattr(self, name)!r}."
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self) | {"stages": [list(stage) for stage in self.stages]}


def _stages(given: Any) -> Shares:
    """Return checked stages as tuples; none is one at the end."""
    stages = given if isinstance(given, list | tuple) else [given]
    if not stages:
        return ((1.0, 1.0),)
    fine = all(isinstance(one, list | tuple) and len(one) == 2 for one in stages)
    if fine and all(map(_is_share, (share for one in stages for share in one))):
        rising = all(a <= c and b <= d for (a, b), (c, d) in pairwise(stages))
        if rising and tuple(stages[-1]) == (1, 1):
            return tuple((float(steps), float(split)) for steps, split in stages)
    raise ConfigError(
        "recovery.stages must be pairs [share of score_steps, share of the search split], shares "
        "above 0 and at most 1, neither falling from one pair to the next, and the last [1, 1]. "
        f"Got {given!r}. For instance [[0.33, 0.25], [1, 0.25], [1, 1]], or [] for no stages."
    )


def _is_share(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= 1
