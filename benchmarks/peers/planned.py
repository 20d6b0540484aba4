"""Which runs there are to be, those that tell most first."""

from collections.abc import Iterator, Sequence
from itertools import product

from benchmarks.peers.limits import LIMITS, SEEDS
from benchmarks.peers.rivals import PARTS, RIVALS
from benchmarks.peers.subjects import QUICK, SMALL, SUBJECTS

KIND = "peer"
Run = tuple[str, str, str, int]  # model, limit, who prunes, seed
FIRST = ("25%", "50%")  # the limits that tell most
APART = ("mobilenet_v2", "25%")  # where ours is run without each of its parts
_MODELS = (*SMALL, *(one for one in SUBJECTS if one not in (*SMALL, QUICK)))
_LAST = tuple(limit for limit in LIMITS if limit not in FIRST)


def name_of(subject: str, limit: str, rival: str, seed: int) -> str:
    """Return the name of a run's task."""
    return f"{subject}.{limit}.{rival}.{seed}"


def run_of(name: str) -> Run:
    """Return the run whose task has a name."""
    subject, limit, rival, seed = name.split(".")
    return subject, limit, rival, int(seed)


def planned() -> Iterator[Run]:
    """Yield every run: all of one seed first, of it what tells most, the small models before."""
    for seed in SEEDS:
        yield from _runs(FIRST, seed)
        yield from ((*APART, part, seed) for part in PARTS)
        yield from _runs(_LAST, seed)


def _runs(limits: Sequence[str], seed: int) -> Iterator[Run]:
    for subject, limit, rival in product(_MODELS, limits, RIVALS):
        yield subject, limit, rival, seed
