"""How a pruned candidate is brought back before it is judged."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from autoprune.core.progressive import Spacing
from autoprune.core.recovery_checks import (
    Shares,
    check_effect,
    check_number,
    check_positive_share,
    names_in,
    stages_in,
)
from autoprune.core.words import check_choice, check_switch
from autoprune.errors import ConfigError

Schedule = Literal["one-shot", "progressive"]
ShrinkSchedule = Literal["linear", "constant", "cosine"]
ScoreBy = Literal["loss", "metric", "kl"]
RateSchedule = Literal["cosine", "one-cycle", "constant"]
Amp = Literal["auto", "none", "bfloat16", "float16"]
_CHOICES = {
    "schedule": get_args(Schedule),
    "prune_spacing": get_args(Spacing),
    "shrink_schedule": get_args(ShrinkSchedule),
    "score_by": get_args(ScoreBy),
    "rate_schedule": get_args(RateSchedule),
    "amp": get_args(Amp),
}
_SWITCHES = ("reconstruct",)
_WHOLE = {
    "score_steps": 0,
    "recover_steps": 0,
    "finalists": 1,
    "calibration_batches": 1,
    "shrink_steps": 0,
    "patience": 0,
    "look_every": 1,
    "prune_rounds": 1,
    "keep_checkpoints": 1,
}
_NUMBERS = (
    *("distill", "distill_temperature", "distill_features", "learning_rate", "momentum"),
    *("weight_decay", "clip_norm", "ema", "shrink_strength", "max_step_drop"),
)
_AUTOMATIC = ("score_steps", "score_by", "finalists", "distill", "clip_norm")
_BARE_STEPS = 80  # of a score where nothing is reconstructed
_HALVED, _WHOLE_WAY = 6, 3  # finalists
_MOST_ROUNDS = 100
PROGRESSIVE = ("prune_rounds", "prune_spacing", "prune_until", "max_step_drop", "keep_checkpoints")
FOR_FINALISTS = (
    *("distill", "distill_temperature", "distill_features", "distill_modules"),
    *("ema", "patience", "look_every", "schedule", *PROGRESSIVE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Settings of what happens between a cut and a score, and of the training of finalists.

    Fine-tuning is SGD with momentum. What is said of finalists holds for them alone, the rest for
    whatever is trained.

    Args:
        score_steps: Training steps before a candidate is scored; None for 0 where layers are
            reconstructed and 80 elsewhere, for a bare cut tells little of what it will be worth.
        score_by: What ranks candidates on the search split: the ``loss``, the ``metric``, or
            ``kl``, the divergence of their outputs from the dense model's; None for ``kl`` in
            classification and ``loss`` in other tasks.
        stages: Where scoring looks whether to go on: pairs of the share of ``score_steps`` trained
            and the share of the search split measured by then. Neither falls, the last pair is
            (1, 1); a single one, or none, scores every candidate to the end.
        recover_steps: Training steps of each finalist.
        finalists: How many of the best candidates begin to be recovered; the better half of them
            goes on, again and again, until one is left. In a progressive run, the best one is
            gone towards, and the others are the alternatives to each of its steps. None for 6, and
            for 3 where none stops early: there, in a population, and by a function of your own.
        schedule: How finalists are cut: ``one-shot``, or ``progressive``, a little further each
            time while they are trained.
        prune_rounds: In how many steps a progressive run cuts.
        prune_spacing: What it may cost after each: ``linear``, ``exponential`` or ``cubic``, see
            `autoprune.core.progressive.allowed`.
        prune_until: Share of the training steps in which it cuts, above 0 and at most 1.
        max_step_drop: Points of quality, of a metric that is no share so much of it; where a step
            loses more, a smaller one is taken.
        keep_checkpoints: How many states that were gone on from are kept.
        distill: Share, 0 to 1, of the divergence from the dense model's outputs in the loss that
            finalists are trained with, the rest being the task's own; None for a half in
            classification and 0 in other tasks.
        distill_temperature: What outputs are softened by for it, at least 1.
        distill_features: Weight of the distance from the dense model's hidden attention maps in
            that loss, 0 for none.
        distill_modules: Names of the modules whose outputs are compared for it; none are the last
            ones at each size of the maps.
        learning_rate: Learning rate at the start; with ``one-cycle`` the highest.
        rate_schedule: How it goes on: ``cosine`` falls to 0, ``one-cycle`` rises from a 25th for
            30% of the steps and falls, ``constant`` stays.
        momentum: Momentum, in ``[0, 1)``.
        weight_decay: L2 penalty.
        clip_norm: The largest norm of all gradients together, 0 for no limit. Unasked it is 1 for
            models with layer norms or attention, which SGD ruins otherwise, and 0 for others.
        amp: Mixed precision: ``auto`` for finalists on a GPU that gains by it, ``none``, or
            ``bfloat16`` or ``float16`` (GPU only) for all training.
        ema: Decay of the moving average of a finalist's weights, in ``[0, 1)``; it is what is
            measured and kept then. 0 for none.
        patience: How many looks at the search split in a row may bring a finalist nothing better
            before its training stops; the best weights are kept. 0 for no looks.
        look_every: Training steps from one look to the next.
        calibration_batches: Training batches for statistics of norms and for gradients.
        reconstruct: Whether what a cut leaves of each layer is fitted to what the dense model's
            gives on those batches, before any training.
        shrink_steps: Training steps of the dense model before a cut, for units whose criterion is
            ``regularised_l1`` or ``regularised_l2``: what is to be cut shrinks meanwhile.
        shrink_strength: How fast at the end of them: a step takes learning rate x strength from
            every weight, or from the root mean square of a group's weights.
        shrink_schedule: How the strength gets there: ``linear`` or ``cosine`` from 0, or
            ``constant``.

    Raises:
        ConfigError: If a value is out of range.
    """

    score_steps: int | None = None
    score_by: ScoreBy | None = None
    stages: Shares = ((1 / 3, 1 / 4), (1, 1 / 4), (1, 1))
    recover_steps: int = 200
    finalists: int | None = None
    schedule: Schedule = "one-shot"
    prune_rounds: int = 4
    prune_spacing: Spacing = "cubic"
    prune_until: float = 0.2
    max_step_drop: float = 10.0
    keep_checkpoints: int = 3
    distill: float | None = None
    distill_temperature: float = 2.0
    distill_features: float = 0.0
    distill_modules: tuple[str, ...] = ()
    learning_rate: float = 0.02
    rate_schedule: RateSchedule = "cosine"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float | None = None
    amp: Amp = "auto"
    ema: float = 0.0
    patience: int = 0
    look_every: int = 20
    calibration_batches: int = 16
    reconstruct: bool = True
    shrink_steps: int = 30
    shrink_strength: float = 1.0
    shrink_schedule: ShrinkSchedule = "linear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", stages_in(self.stages))
        object.__setattr__(self, "distill_modules", names_in(self.distill_modules))
        for name, low in _WHOLE.items():
            if not self._automatic(name):
                check_number(name, getattr(self, name), low, int)
        for name in _NUMBERS:
            if not self._automatic(name):
                check_number(name, getattr(self, name), 0, int | float)
        for name in _SWITCHES:
            check_switch(f"recovery.{name}", getattr(self, name))
        check_positive_share("prune_until", self.prune_until)
        if self.prune_rounds > _MOST_ROUNDS:
            raise ConfigError(
                f"recovery.prune_rounds must be at most {_MOST_ROUNDS}: each round is "
                f"measured and kept. Got {self.prune_rounds!r}."
            )
        if self.distill is not None and self.distill > 1:
            raise ConfigError(
                "recovery.distill must be a share of the loss, 0 to 1: 0.5 is half of it. "
                f"Got {self.distill!r}."
            )
        for name in ("momentum", "ema"):
            if getattr(self, name) >= 1:
                raise ConfigError(f"recovery.{name} must be below 1. Got {getattr(self, name)!r}.")
        if self.distill_temperature < 1:
            raise ConfigError(
                "recovery.distill_temperature must be at least 1 (softens nothing); up to 4 is "
                f"usual. Got {self.distill_temperature!r}."
            )
        for name, allowed in _CHOICES.items():
            if not self._automatic(name):
                check_choice(f"recovery.{name}", getattr(self, name), allowed)

    def _automatic(self, name: str) -> bool:
        return name in _AUTOMATIC and getattr(self, name) is None

    @property
    def steps_of_scores(self) -> int:
        """Training steps before a candidate is scored."""
        if self.score_steps is not None:
            return self.score_steps
        return 0 if self.reconstruct else _BARE_STEPS

    def finalists_if(self, *, halved: bool) -> int:
        """Return how many finalists there are, where fewer and fewer of them go on or all do."""
        if self.finalists is not None:
            return self.finalists
        return _HALVED if halved and self.schedule == "one-shot" else _WHOLE_WAY

    @property
    def looks(self) -> int:
        """Stages of a score that differ: without training, those on the same samples do not."""
        steps = self.steps_of_scores
        return len({(round(part * steps), share) for part, share in self.stages})

    @property
    def distils(self) -> bool:
        """Whether finalists learn from the dense model."""
        return bool(self.distill) or self.distill_features > 0

    def check_effect(self) -> None:
        """Raise `ConfigError` if a setting has no effect, for it needs another one."""
        usual = Recovery()
        changed = [
            one.name for one in fields(self) if getattr(self, one.name) != getattr(usual, one.name)
        ]
        progressive = self.schedule == "progressive"
        check_effect(
            {
                "schedule: progressive": (progressive, PROGRESSIVE),
                "schedule: one-shot": (not progressive, ("patience", "look_every")),
                "patience": (self.patience > 0, ("look_every",)),
                "distill": (self.distill != 0, ("distill_temperature",)),
                "distill_features": (self.distill_features > 0, ("distill_modules",)),
            },
            changed,
        )

    def of_scores(self) -> "Recovery":
        """Return the settings without what holds for finalists alone."""
        usual = Recovery()
        amp: Amp = "none" if self.amp == "auto" else self.amp
        return replace(self, amp=amp, **{name: getattr(usual, name) for name in FOR_FINALISTS})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        lists = {
            "stages": [list(stage) for stage in self.stages],
            "distill_modules": list(self.distill_modules),
        }
        return asdict(self) | lists
