"""Stable identities: the same content has the same fingerprint on every machine."""

import hashlib
import json
from typing import Any

from autoprune.core.numbers import check_at_least
from autoprune.errors import ConfigError

MAX_SEED = 2**32 - 1


def fingerprint(content: Any) -> str:
    """Return the SHA-256 of ``content`` (plain JSON types) as 64 hex digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def seed_from(*parts: Any) -> int:
    """Return a 32-bit seed that depends on all ``parts`` (plain JSON types) and nothing else."""
    return int(fingerprint(list(parts))[:8], 16)


def check_seed(seed: int, name: str = "seed") -> None:
    """Refuse what is no seed.

    Args:
        seed: What was given.
        name: What it is called.

    Raises:
        ConfigError: If it is no whole number from 0 to `MAX_SEED`.
    """
    check_at_least(name, seed, 0, int)
    if seed > MAX_SEED:
        raise ConfigError(f"{name} must be at most {MAX_SEED}. Got {seed!r}.")
