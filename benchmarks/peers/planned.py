"""Which runs there are to be, those that tell most first."""

from collections.abc import Iterable, Iterator

from benchmarks.peers.limits import LIMITS, SEEDS
from benchmarks.peers.rivals import PARTS, RIVALS
from benchmarks.peers.subjects import QUICK, SMALL, SUBJECTS

KIND = "peer"
Run = tuple[str, str, str, int]  # model, limit, who prunes, seed
FIRST = ("25%", "50%")  # the limits that tell most
APART = ("mobilenet_v2", "25%")  # where ours is run without each of its parts
_LARGE = tuple(subject for subject in SUBJECTS if subject not in (*SMALL, QUICK))
_MODELS = (*SMALL, *_LARGE)
_FIRST = tuple((subject, limit) for subject in SMALL for limit in FIRST)


def name_of(subject: str, limit: str, rival: str, seed: int) -> str:
    """Return the name of a run's task."""
    return f"{subject}.{limit}.{rival}.{seed}"


def run_of(name: str) -> Run:
    """Return the run whose task has a name."""
    subject, limit, rival, seed = name.split(".")
    return subject, limit, rival, int(seed)


def planned() -> Iterator[Run]:
    """Yield every run: two small models first, then what each part of ours is worth."""
    yield from _runs((subject, limit, seed) for seed in SEEDS for subject, limit in _FIRST)
    yield from ((*APART, part, seed) for seed in SEEDS for part in PARTS)
    yield from _runs(_later())


def _runs(places: Iterable[tuple[str, str, int]]) -> Iterator[Run]:
    return ((subject, limit, rival, seed) for subject, limit, seed in places for rival in RIVALS)


def _later() -> Iterator[tuple[str, str, int]]:
    large = [(subject, limit) for subject in _LARGE for limit in FIRST]
    rest = [(subject, limit) for limit in LIMITS if limit not in FIRST for subject in _MODELS]
    yield from ((*place, seed) for seed in SEEDS for place in (*large, *rest))
