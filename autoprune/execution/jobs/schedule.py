"""Schedules: what cron, Slurm and Kubernetes understand alike."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

from cronsim import CronSim, CronSimError

from autoprune.errors import ConfigError

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_FORMS = (r"[\d*,/-]{1,200}",) * 3 + (r"[\dA-Za-z*,/-]{1,200}",) * 2  # all minutes are 169
_LOOKED_AT = 400  # firings: a year of days


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a job starts.

    Args:
        text: Five fields of cron, one blank between them.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, given: str) -> "Schedule":
        """Return a schedule that means the same to all schedulers.

        Numbers, names, lists, ranges and steps are allowed; what only some schedulers know
        (``@daily``, ``L``, ``W``, ``#``, ``?``, seconds, 7 for Sunday) is refused.

        Raises:
            ConfigError: If it is no such schedule, or never comes.
        """
        fields = given.split()
        if len(fields) != len(FIELDS):
            raise ConfigError(
                f"--schedule must have five fields: {', '.join(FIELDS)}, like '0 2 * * *' for "
                f"two o'clock each night. Got {len(fields)} in {given!r}."
            )
        for name, form, field in zip(FIELDS, _FORMS, fields, strict=True):
            if not re.fullmatch(form, field, re.ASCII) or (name == FIELDS[4] and "7" in field):
                raise ConfigError(_refusal(name, field, given))
        try:
            next(_firings(" ".join(fields)))
        except CronSimError as err:
            name = str(err).removeprefix("Bad ").replace("-", " ")
            if name == FIELDS[2] and _is_schedule([*fields[:3], "*", *fields[4:]]):
                raise ConfigError(f"--schedule {given!r} names a day that never comes.") from err
            field = fields[FIELDS.index(name)] if name in FIELDS else given
            raise ConfigError(_refusal(name, field, given)) from err
        except StopIteration as err:
            raise ConfigError(f"--schedule {given!r} names a day that never comes.") from err
        return cls(" ".join(fields))

    def shortest_gap(self) -> timedelta:
        """Return the shortest time between two firings, over a year of days."""
        firings = islice(_firings(self.text), _LOOKED_AT)
        return min(after - before for before, after in pairwise(firings))


def _firings(text: str) -> CronSim:
    return CronSim(text, datetime(2024, 1, 1, tzinfo=UTC))


def _is_schedule(fields: Sequence[str]) -> bool:
    try:
        next(_firings(" ".join(fields)))
    except CronSimError:
        return False
    return True


def _refusal(name: str, field: str, given: str) -> str:
    sunday = " Sunday is 0." if name == FIELDS[4] and "7" in field else ""
    return (
        f"--schedule {given!r}: {field!r} is no {name} that every scheduler understands.{sunday} "
        "Allowed are numbers, names of months and days, lists (1,3), ranges (1-5) and steps (*/2)."
    )
