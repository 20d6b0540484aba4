"""The table of results: one cell for each model, limit and rival, whether it is done or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from benchmarks.peers.limits import SEEDS
from benchmarks.peers.planned import KIND, planned, run_of
from benchmarks.peers.rivals import OURS, TAUGHT
from benchmarks.work import Results

Facts = Mapping[str, Any]
Place = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One rival on one model under one limit.

    Args:
        runs: Facts of the seeds that ended well.
        failures: What those said that did not, by seed.
        missing: Seeds that are not done yet.
    """

    runs: Mapping[int, Facts]
    failures: Mapping[int, str]
    missing: tuple[int, ...]

    def values(self, name: str) -> list[float]:
        """Return a fact of each seed that has it."""
        return [float(one[name]) for one in self.runs.values() if one.get(name) is not None]

    def mean(self, name: str) -> float | None:
        """Return the mean over seeds, None if there is none."""
        found = self.values(name)
        return mean(found) if found else None

    def sd(self, name: str) -> float | None:
        """Return the standard deviation over seeds, None of fewer than two."""
        found = self.values(name)
        return stdev(found) if len(found) > 1 else None

    @property
    def met(self) -> bool | None:
        """Whether every seed that ended kept within the limit; None if nobody knows."""
        found = {one.get("met") for one in self.runs.values()}
        return False if False in found else None if None in found or not found else True

    def gain(self, other: "Cell") -> float | None:
        """Return how many points more of quality it has, over the seeds that both have."""
        both = self.runs.keys() & other.runs.keys()
        gains = [self.runs[at]["quality"] - other.runs[at]["quality"] for at in both]
        return 100 * mean(gains) if gains else None

    def summary(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        told = ("quality", "cut", "share", "latency_share", "forwards", "search_s", "training_s")
        return {
            **{name: self.mean(name) for name in told},
            "quality_sd": self.sd("quality"),
            "met": self.met,
            "seeds": sorted(self.runs),
            "failures": dict(self.failures),
            "missing": list(self.missing),
        }


def cells(results: Results) -> dict[Place, Cell]:
    """Return every cell by model, limit and who prunes: planned ones, and what else is done."""
    done = {run_of(name): facts for name, facts in results.get(KIND, {}).items()}
    done |= {
        (subject, limit, TAUGHT, seed): {**facts, **facts["distilled"]}
        for (subject, limit, rival, seed), facts in done.items()
        if rival == OURS and "distilled" in facts
    }
    places = dict.fromkeys((subject, limit, rival) for subject, limit, rival, _ in planned())
    places |= dict.fromkeys((subject, limit, rival) for subject, limit, rival, _ in done)
    return {
        place: _cell({seed: done.get((*place, seed), {}) for seed in SEEDS}) for place in places
    }


def sections(table: Mapping[Place, Cell]) -> list[tuple[str, str]]:
    """Return the models and limits of a table."""
    return list(dict.fromkeys((subject, limit) for subject, limit, _ in table))


def _cell(facts: Mapping[int, Facts]) -> Cell:
    return Cell(
        runs={at: one for at, one in facts.items() if "quality" in one and "failure" not in one},
        failures={at: one["failure"] for at, one in facts.items() if "failure" in one},
        missing=tuple(at for at, one in facts.items() if not one),
    )
