"""A policy says, for every unit, how and how much it is pruned."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from autoprune.core.fingerprint import fingerprint
from autoprune.core.json_text import parse_json
from autoprune.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Choice:
    """What happens to one unit.

    Args:
        method: ``structure.criterion``, for instance ``channel.l1``.
        sparsity: Share of the unit's atoms that is removed, in ``[0, 1]``; 1 removes a block.

    Raises:
        ConfigError: If the sparsity is outside.
    """

    method: str
    sparsity: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.sparsity <= 1.0:
            raise ConfigError(
                f"The sparsity of a unit must be between 0 and 1. Got {self.sparsity!r}."
            )


class Policy(Mapping[str, Choice]):
    """Immutable map from unit name to `Choice`; a unit that is absent stays untouched.

    A sparsity of 0 is dropped, so policies that prune alike are equal and share a fingerprint.
    """

    __slots__ = ("_choices", "_fingerprint")

    def __init__(self, choices: Mapping[str, Choice]) -> None:
        kept = {unit: choices[unit] for unit in sorted(choices) if choices[unit].sparsity > 0.0}
        self._choices = MappingProxyType(kept)
        self._fingerprint: str | None = None  # once it was asked for

    def __getitem__(self, unit: str) -> Choice:
        return self._choices[unit]

    def __iter__(self) -> Iterator[str]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"Policy({dict(self._choices)!r})"

    def __reduce__(self) -> tuple[type["Policy"], tuple[dict[str, Choice]]]:
        return Policy, (dict(self._choices),)  # the read-only view cannot be pickled

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON form, 64 hex digits."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.to_dict())
        return self._fingerprint

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the policy as plain JSON types."""
        return {u: {"method": c.method, "sparsity": c.sparsity} for u, c in self.items()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Mapping[str, Any]]) -> "Policy":
        """Read what `to_dict` wrote.

        Raises:
            ConfigError: If an entry lacks ``method`` or ``sparsity``, or a sparsity is not in
                ``[0, 1]``.
        """
        try:
            choices = {u: Choice(str(c["method"]), float(c["sparsity"])) for u, c in raw.items()}
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as err:
            raise ConfigError(
                "A policy maps each unit to {'method': NAME, 'sparsity': SHARE}. "
                f"Got {raw!r}. Check the file against a policy.json that autoprune wrote."
            ) from err
        return cls(choices)

    def to_json(self) -> str:
        """Return the policy as JSON text; `from_json` gives an equal policy back."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Policy":
        """Read what `to_json` wrote; raises `ConfigError` like `from_dict`, or for no JSON."""
        try:
            raw = parse_json(text)
        except ValueError as err:
            raise ConfigError(f"A policy is JSON, but this is not: {err}.") from err
        return cls.from_dict(raw)
