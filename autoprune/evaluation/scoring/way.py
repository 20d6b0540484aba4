"""What tells two ways of scoring apart, so that nothing found in one is used in another."""

from dataclasses import replace

from autoprune.core.fingerprint import fingerprint
from autoprune.core.recover_function import RecoverFunction
from autoprune.core.recovery import PROGRESSIVE, Recovery
from autoprune.evaluation.training.precision import chosen

EVALUATOR_VERSION = 5
# What says how many are scored, and for how long, but not how one of them is.
_NO_PART = ("score_steps", "recover_steps", "finalists", "stages")
# Left out at their defaults, so that what was found before they were there keeps its identity.
_NEWER = (
    *("distill_features", "distill_modules", "rate_schedule", "amp", "ema"),
    *("patience", "look_every", "schedule", *PROGRESSIVE),
)


def fingerprint_of(
    recovery: Recovery, steps: int, seed: int, recover: RecoverFunction | None, device: str
) -> str:
    """Return the identity of a way of scoring.

    Args:
        recovery: The settings.
        steps: Training steps; below 0 of a finalist.
        seed: Seed of the run.
        recover: The user's own training of finalists, None for ours.
        device: Where it is trained, which decides what ``amp: auto`` computes in.
    """
    usual, own = Recovery(), replace(recovery, amp=chosen(recovery.amp, device))
    if steps >= 0:
        usual, own = usual.of_scores(), recovery.of_scores()
    settings, defaults = own.to_dict(), usual.to_dict()
    idle = [*_NO_PART]
    idle += [] if own.distill else ["distill", "distill_temperature"]
    settings |= dict.fromkeys(idle, 0)
    if own.distill:  # which was a weight once
        settings["distill"] = {"share": own.distill}
    unused = ["keep_checkpoints"]
    unused += [] if own.distill_features else ["distill_modules"]
    unused += [] if own.patience else ["look_every"]
    unused += [] if own.clip_norm else ["clip_norm"]
    unused += [] if own.reconstruct else ["reconstruct"]  # as everything was found before it
    unused += [] if own.schedule == "progressive" else [*PROGRESSIVE]
    unused += [name for name in _NEWER if settings[name] == defaults[name]]
    content = [
        EVALUATOR_VERSION,
        steps,
        {name: value for name, value in settings.items() if name not in unused},
        seed,
    ]
    if steps < 0 and recover is not None:
        content.append([recover.name, recover.source])
    return fingerprint(content)
