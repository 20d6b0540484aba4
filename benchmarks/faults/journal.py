"""What the processes of a search say that they did, and whether the database agrees."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a journal; see `observed`.

    Args:
        what: ``began``, ``ended``, ``stored``, ``started``, or a stage of the search.
        process: Who wrote it.
        parent: The process that started that one.
        policy: Fingerprint of the policy, empty where it is about none.
    """

    what: str
    process: int
    parent: int
    policy: str = ""


class Row(NamedTuple):
    """One evaluation in a database: its number there, and what it found."""

    number: int
    outcome: str
    loss: float | None
    quality: float | None


Key = tuple[str, str]  # fingerprints of the policy and of the way of scoring
Rows = Mapping[Key, Row]


def read(path: Path) -> list[Line]:
    """Return the lines of a journal, oldest first; none if nobody has written yet."""
    if not path.exists():
        return []
    return [Line(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def lost(lines: Iterable[Line], seen: Rows, last: Rows) -> int:
    """Return how many finished evaluations are gone or altered.

    Args:
        lines: The journal.
        seen: Evaluations that were in the database after some fault.
        last: Those that are there in the end.
    """
    told = {line.policy for line in lines if line.what == "stored"}
    left = {policy for policy, _ in last}
    altered = sum(key not in last or last[key][1:] != row[1:] for key, row in seen.items())
    return len(told - left - {policy for policy, _ in seen}) + altered


def done_twice(lines: Sequence[Line], dead: Collection[int], seen: Rows, last: Rows) -> int:
    """Return how many evaluations were made although they had been made before.

    A score that ended may be made again if the process that made it, or the one that would have
    stored it, came to its end by a fault before it was stored: nobody else knew of it. A score
    that was stored, or whose processes live, may not.

    Args:
        lines: The journal.
        dead: Processes that ended by a fault.
        seen: Evaluations that were in the database after some fault; where one has another number
            in the end it was made again.
        last: Those that are there in the end.
    """
    again = sum(key in last and last[key].number != row.number for key, row in seen.items())
    ended: dict[str, list[Line]] = {}
    stored: set[str] = set()
    for line in lines:
        if line.what == "stored":
            stored.add(line.policy)
        if line.what == "ended":
            before = ended.setdefault(line.policy, [])
            gone = all({one.process, one.parent} & {*dead} for one in before)
            again += bool(before) and (line.policy in stored or not gone)
            before.append(line)
    return again
