"""Searches of a table with rollback, with plain switches only, and with neither."""

from benchmarks.isolated import Note
from benchmarks.search.tabled import errors_of, gaps_of, opened, sampler_of, study_of

ARMS = ("budgeted", "no_rollback", "no_switches")


def compare(note: Note, table: str, seeds: int, trials: int, first: int) -> None:
    """Search with several seeds in each way, with as many evaluations.

    Args:
        note: Told the facts: by way, for each seed the points that the best policy so far is
            below the best of the table after each evaluation.
        table: Name of the table.
        seeds: How many seeds.
        trials: Evaluations of each search.
        first: The first seed.
    """
    objective = opened(table)
    errors = errors_of(objective)
    facts: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
    for seed in range(first, first + seeds):
        for arm in ARMS:
            sampler = sampler_of(objective, arm, seed, errors)
            facts[arm].append(gaps_of(objective, study_of(sampler), sampler, trials))
        note(**facts)
