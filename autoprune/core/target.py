"""Targets: what a latency is measured with, written ``onnxruntime/threads=1/batch=8``."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from autoprune._hints import did_you_mean
from autoprune.core.cores import usable_cores
from autoprune.errors import ConfigError

DTYPES = ("float32", "float16", "bfloat16")
_RUNTIME = re.compile(r"[A-Za-z0-9][\w.-]*")
_EXAMPLE = "'onnxruntime/threads=1/batch=8'"


@dataclass(frozen=True, slots=True)
class Target:
    """What runs a forward, and how; two equal targets on one device give equal latencies.

    Args:
        runtime: Name of a runtime, such as ``onnxruntime``; whether there is one of that name
            is known where runtimes are.
        batch: Samples of one forward.
        threads: Threads on the CPU; None for every core that this process may use.
        dtype: Type of weights and inputs, out of `DTYPES`.
        channels_last: Whether images and their weights lie in memory channel by channel.

    Raises:
        ConfigError: If a value is not allowed.
    """

    runtime: str
    batch: int = 1
    threads: int | None = None
    dtype: str = "float32"
    channels_last: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.runtime, str) or not _RUNTIME.fullmatch(self.runtime):
            raise ConfigError(
                f"A target begins with the name of a runtime, like {_EXAMPLE}. "
                f"Got {self.runtime!r}."
            )
        for name in ("batch", "threads"):
            number = getattr(self, name)
            if (name, number) != ("threads", None) and (type(number) is not int or number < 1):
                raise ConfigError(
                    f"The {name!r} of a target must be a whole number of at least 1. "
                    f"Got {number!r}."
                )
        if self.dtype not in DTYPES:
            raise ConfigError(
                f"The 'dtype' of a target must be one of {', '.join(DTYPES)}. "
                f"Got {self.dtype!r}.{did_you_mean(str(self.dtype), DTYPES, listed=True)}"
            )
        if type(self.channels_last) is not bool:
            raise ConfigError(
                f"The 'channels_last' of a target must be true or false. "
                f"Got {self.channels_last!r}."
            )

    @property
    def cores(self) -> int:
        """Threads on the CPU, counted out."""
        return usable_cores() if self.threads is None else self.threads

    @classmethod
    def parse(cls, given: "Target | str") -> "Target":
        """Read what `str` writes: a runtime, then ``/OPTION=VALUE`` in any order.

        ``/channels_last`` alone means ``/channels_last=true``.

        Raises:
            ConfigError: If an option is unknown, given twice, or its value not allowed.
        """
        if isinstance(given, Target):
            return given
        runtime, *options = (part.strip() for part in str(given).split("/"))
        values: dict[str, Any] = {}
        for option in options:
            name, equals, value = (part.strip() for part in option.partition("="))
            if name not in _READ:
                raise ConfigError(
                    f"Unknown option {name!r} in the target {given!r}."
                    f"{did_you_mean(name, _READ)} A target is written like {_EXAMPLE}."
                )
            if name in values:
                raise ConfigError(f"The target {given!r} gives {name!r} twice. Give it once.")
            values[name] = _READ[name](value if equals or name != "channels_last" else "true")
        return cls(runtime, **values)

    def __str__(self) -> str:
        options = [
            "channels_last" if field.name == "channels_last" else f"{field.name}={value}"
            for field in fields(self)[1:]
            if (value := getattr(self, field.name)) != field.default
        ]
        return "/".join([self.runtime, *options])


def _number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else text


def _truth(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text.lower(), text)


_READ: dict[str, Callable[[str], Any]] = {
    "batch": _number,
    "threads": _number,
    "dtype": str,
    "channels_last": _truth,
}
