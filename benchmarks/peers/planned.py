"""Which runs there are to be, those that tell most first."""

from collections.abc import Iterator

from benchmarks.peers.limits import LIMITS, SEEDS
from benchmarks.peers.rivals import PARTS, RIVALS
from benchmarks.peers.subjects import QUICK, SMALL, SUBJECTS

KIND = "peer"
Run = tuple[str, str, str, int]  # model, limit, who prunes, seed
FIRST = ("25%", "50%")  # the limits that tell most
_LARGE = tuple(subject for subject in SUBJECTS if subject not in (*SMALL, QUICK))


def name_of(subject: str, limit: str, rival: str, seed: int) -> str:
    """Return the name of a run's task."""
    return f"{subject}.{limit}.{rival}.{seed}"


def run_of(name: str) -> Run:
    """Return the run whose task has a name."""
    subject, limit, rival, seed = name.split(".")
    return subject, limit, rival, int(seed)


def planned() -> Iterator[Run]:
    """Yield every run: two small models first, then what each part of ours is worth there."""
    for subject, limit, seed in _order():
        yield from ((subject, limit, rival, seed) for rival in RIVALS)
        if subject in SMALL and limit in FIRST:
            yield from ((subject, limit, part, seed) for part in PARTS)


def _order() -> Iterator[tuple[str, str, int]]:
    rest = [limit for limit in LIMITS if limit not in FIRST]
    models = (*SMALL, *_LARGE)
    for seed in SEEDS:
        yield from ((subject, limit, seed) for subject in SMALL for limit in FIRST)
    yield from ((subject, limit, SEEDS[0]) for subject in _LARGE for limit in FIRST)
    yield from ((subject, limit, SEEDS[0]) for subject in models for limit in rest)
    for seed in SEEDS[1:]:
        yield from ((subject, limit, seed) for subject in _LARGE for limit in FIRST)
        yield from ((subject, limit, seed) for subject in models for limit in rest)
