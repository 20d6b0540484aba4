"""What the database hands out: plain, frozen, checked on the way in and on the way out."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from autoprune.core.policy import Policy
from autoprune.core.stages import Stage
from autoprune.errors import ArtifactError, CandidateError

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One started search.

    Args:
        id: Number in this database.
        name: Unique name in this database.
        created_at: When it was started, in UTC.
        config: What the search was asked to do, plain JSON types.
        model_fp: Fingerprint of the dense model and its weights.
        data_fp: Fingerprint of the data.
        kept: What decides proposals and is measured or read once, by name.
        outcome: What it came to, None as long as it is not finished.
    """

    id: int
    name: str
    created_at: datetime
    config: Mapping[str, Any]
    model_fp: str
    data_fp: str
    kept: Mapping[str, Any]
    outcome: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class EvaluationKey:
    """What decides the outcome of an evaluation: equal keys are never evaluated twice.

    Args:
        model_fp: Fingerprint of the dense model and its weights.
        data_fp: Fingerprint of the data.
        policy_fp: Fingerprint of the policy.
        evaluator_fp: Fingerprint of the way of scoring: its version, settings and seed.
    """

    model_fp: str
    data_fp: str
    policy_fp: str
    evaluator_fp: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One scored policy.

    Args:
        policy: What was applied.
        outcome: How it ended: a candidate ``scored``, or ``stopped:`` or ``failed:`` and the
            reason; a finalist ``recovered``, or ``outrun:`` and where.
        loss: Loss on the search split, if it was reached.
        quality: The task's metric on the search split (higher is better), if it was reached.
        sample_forwards: Cost, in forwards of one sample by the dense model.
        seconds: Cost, in seconds of wall clock.
        weights: Name of the weights file in the run's own folder, if it was kept.
        weights_sha256: SHA-256 of that file, 64 hex digits.
        score: What ranks it, lower is better, if the end was reached; the loss if not given.
        stages: What was found on the way.

    Raises:
        CandidateError: If a number is NaN or infinite.
        ArtifactError: If ``weights`` is no bare file name, or one of it and its sum is missing.
    """

    policy: Policy
    outcome: str
    loss: float | None
    quality: float | None
    sample_forwards: float
    seconds: float
    weights: str | None = None
    weights_sha256: str | None = None
    score: float | None = None
    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        if self.score is None:
            object.__setattr__(self, "score", self.loss)
        for name in ("loss", "quality", "score", "sample_forwards", "seconds"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise CandidateError(
                    f"The {name} of an evaluation must be a finite number. Got {number!r}. "
                    "Give None for a loss or quality that could not be computed."
                )
        _check_weights(self.weights, self.weights_sha256)

    def free(self) -> "Evaluation":
        """Return the same as it is told to a run that somebody else paid it for."""
        return replace(self, sample_forwards=0.0, seconds=0.0)


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one layer takes.

    Args:
        seconds: Median of one forward.
        low: Lower end of its interval, in seconds.
        high: Upper end of its interval, in seconds.

    Raises:
        CandidateError: If the three are not above zero, finite and in order.
    """

    seconds: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.seconds <= self.high < math.inf:
            raise CandidateError(
                "A latency needs a median above 0 seconds inside a finite interval. "
                f"Got {self.seconds!r} in [{self.low!r}, {self.high!r}]. Measure it anew."
            )


def _check_weights(name: str | None, sha256: str | None) -> None:
    if name is None and sha256 is None:
        return
    if not name or name in (".", "..") or not _is_bare(name):
        raise ArtifactError(
            f"Weights are named by a file of the run's own folder, without a path. Got {name!r}."
        )
    if sha256 is None or not _SHA256.fullmatch(sha256):
        raise ArtifactError(
            f"The weights {name!r} need a SHA-256 sum of 64 hex digits. Got {sha256!r}."
        )


def _is_bare(name: str) -> bool:
    return PurePosixPath(name).name == name and PureWindowsPath(name).name == name
