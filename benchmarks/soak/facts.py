"""What the record of a soak comes to."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.isolated import Facts
from benchmarks.soak.record import Entry, Record
from benchmarks.soak.slopes import Slope, slope

_COUNTED = ("searches", "evaluations", "lost", "done_twice", "left_running")
_KILLS = ("driver", "worker", "agent")  # jobs that kill several processes
_ROLES = ("driver", "worker", "server")
_HELD = ("mb", "files", "sockets", "threads")
_POINTS = 120  # of the curves that are kept


def facts_of(record: Record) -> Facts:
    """Return what was found so far.

    ``minutes``: how long drivers were sampled; ``lives``: how many there were. ``searches`` that
    came to their end, their ``evaluations``, what was ``lost``, ``done_twice``, ``left_running``;
    ``faults`` by kind, ``ended`` exit codes of drivers of the long search, ``failures``.
    ``slopes``: by role and by what is held, per hour and, of memory, per 1,000 evaluations.
    """
    jobs, over = record.all("job"), record.all("over")
    counts: Counter[str] = Counter()
    for one in jobs:
        counts.update({name: one[name] for name in _COUNTED if name in one})
    for one in over:
        counts.update({name: one[name] for name in _COUNTED if name in one}, searches=1)
    counts["evaluations"] += _unfinished(record)
    failures = [f"{one['kind']}: {one['failure']}" for one in jobs if "failure" in one]
    failures += [f"{one['of']}: {one['failure']}" for one in record.all("failure")]
    return {
        "minutes": round(record.seconds / 60, 1),
        "lives": len(record.lives),
        **{name: counts[name] for name in _COUNTED},
        "faults": dict(sorted(_faults(record, jobs).items())),
        "ended": [one["code"] for one in record.all("ended")],
        "failures": failures,
        "left": {name: over[-1].get(name) for name in _LEFT} if over else {},
        **_grown(max(map(_searching, record.lives), key=len, default=[])),
    }


_LEFT = ("connections", "temporary", "shared_memory", "names")


def _unfinished(record: Record) -> int:
    """Return the evaluations of long searches that were cut, or go on."""
    counts: dict[str, int] = {}
    for one in record.all("sample", "over"):
        if one["what"] == "over":
            counts.pop(one["search"], None)
        else:
            counts[one["search"]] = one["evaluations"]
    return sum(counts.values())


def _faults(record: Record, jobs: Sequence[Entry]) -> Counter[str]:
    found = Counter(str(one["kind"]) for one in record.all("fault"))
    for one in jobs:
        counted = {"clock": "jumps"}.get(one["kind"], "kills" if one["kind"] in _KILLS else "")
        found[one["kind"]] += one.get(counted, 0) if counted else 1
    return found


def _searching(life: Sequence[Entry]) -> Sequence[Entry]:
    """Return the samples of a life until its last evaluation; workers go then."""
    last = next(at for at, one in enumerate(life) if one["evaluations"] == life[-1]["evaluations"])
    return life[: last + 1]


def _grown(life: Sequence[Entry]) -> Facts:
    """Return how fast things grew in the second half of a driver's life, and its curves."""
    late = life[len(life) // 2 :]
    slopes: dict[str, Any] = {}
    for role in _ROLES:
        there = _of_one([one for one in late if one.get(role)], role)
        hours = [one["at"] / 3600 for one in there]
        for name in _HELD:
            values = [one[role][name] for one in there]
            slopes[f"{role}.{name}"] = _told(slope(hours, values))
        thousands = [one["evaluations"] / 1000 for one in there]
        memory = [one[role]["mb"] for one in there]
        slopes[f"{role}.mb_per_1000"] = _told(slope(thousands, memory))
    for name in ("connections", "temporary", "shared_memory"):
        there = [one for one in late if name in one]
        slopes[name] = _told(
            slope([one["at"] / 3600 for one in there], [one[name] for one in there])
        )
    return {"slopes": slopes, **_stored(life, late), "curves": _curves(life)}


def _of_one(samples: Sequence[Entry], role: str) -> Sequence[Entry]:
    """Return the samples of the worker that lived longest, where it is about workers."""
    if role != "worker" or not samples:
        return samples
    (eldest, _), *_ = Counter(one["eldest"] for one in samples).most_common(1)
    return [one for one in samples if one["eldest"] == eldest]


def _told(found: Slope | None) -> dict[str, float] | None:
    return None if found is None else {k: round(v, 4) for k, v in found._asdict().items()}


def _stored(life: Sequence[Entry], late: Sequence[Entry]) -> Facts:
    """Return what an evaluation takes in the database, and how many there are in a minute."""
    sized = [one for one in life if "database_mb" in one]
    if len(sized) < 2 or len(late) < 2:
        return {}
    early, (first, *_, last) = life[: len(life) // 2], (sized[0], sized[-1])
    count = last["evaluations"] - first["evaluations"]
    grown = last["database_mb"] - first["database_mb"]
    return {
        "database_kb_per_evaluation": round(1024 * grown / count, 2) if count else None,
        "wal_mb_most": max(one["wal_mb"] for one in sized),
        "per_minute": [_pace(part) for part in (early, late)],
    }


def _pace(part: Sequence[Entry]) -> float | None:
    """Return evaluations per minute."""
    seconds = part[-1]["at"] - part[0]["at"] if part else 0
    done = part[-1]["evaluations"] - part[0]["evaluations"] if part else 0
    return round(60 * done / seconds, 1) if seconds else None


def _curves(life: Sequence[Entry]) -> list[list[float | None]]:
    """Return minute, evaluations, and what is held by each role, at some moments."""
    step = max(len(life) // _POINTS, 1)
    return [
        [
            round(one["at"] / 60, 2),
            one["evaluations"],
            *((one[role] or {}).get(name) for role in _ROLES for name in _HELD),
        ]
        for one in life[::step]
    ]
