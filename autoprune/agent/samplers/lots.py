"""Several proposals of one pool: what comes with the first one."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.samplers.belief import Belief
from autoprune.agent.samplers.joint import Joint
from autoprune.agent.samplers.pool import Pool
from autoprune.agent.samplers.proposal import Proposal
from autoprune.predictor.prequential import Screening

Candidate = tuple[Rows, str]  # a row and its source
_SPARE = 2  # times as many candidates as are wanted are filled up: some become alike


def as_drawn(
    pool: Pool, drawn: Sequence[Candidate], tried: set[bytes], first: Candidate, count: int
) -> list[Candidate]:
    """Return further candidates in the order in which they were drawn, filled up.

    Args:
        pool: What they are from.
        drawn: All of it.
        tried: What is not new.
        first: What is proposed before them.
        count: How many at most.
    """
    if not count:
        return []
    return list(islice(_untried(pool, drawn[: _SPARE * count], tried, first), count))


def ranked(
    pool: Pool,
    drawn: Sequence[Candidate],
    tried: set[bytes],
    first: Candidate,
    audits: Sequence[bool],
    belief: Belief,
) -> list[tuple[Rows, str, bool]]:
    """Return further candidates, filled up, best first, but where they audit what is predicted.

    Those are taken as they were drawn. Each comes with whether it is one.

    Args:
        pool: What they are from.
        drawn: All of it.
        tried: What is not new.
        first: What is proposed before them.
        audits: For each that is wanted, whether it is to be one.
        belief: What ranks the others.
    """
    if not audits:
        return []
    joint = Joint.of(belief, np.stack([row for row, _ in drawn]))
    most = _SPARE * len(audits)
    best = [drawn[at] for at in islice(joint.best_first(), most)]
    by_rank = _untried(pool, best, tried, first)
    plain = _untried(pool, drawn[:most], tried, first) if any(audits) else iter(())
    found: dict[bytes, tuple[Rows, str, bool]] = {}
    for audit in audits:
        row, source = next(plain if audit else by_rank, first)
        found.setdefault(row.tobytes(), (row, source, audit))
    found.pop(first[0].tobytes(), None)  # where nothing else was left
    return list(found.values())


def proposals_of(
    rows: Sequence[Candidate], belief: Belief, screenings: Sequence[Screening | None]
) -> list[Proposal]:
    """Return proposals with what is expected of them."""
    if not rows:
        return []
    told = belief.intervals(np.stack([row for row, _ in rows])).tolist()
    return [
        Proposal(row, source, *(expected, low, high), screening, belief.record)
        for (row, source), (expected, low, high), screening in zip(
            rows, told, screenings, strict=True
        )
    ]


def _untried(
    pool: Pool, candidates: Sequence[Candidate], tried: set[bytes], first: Candidate
) -> Iterator[Candidate]:
    """Yield those that are new with what they leave of the budget spent, none twice."""
    filled = pool.filled(np.stack([row for row, _ in candidates]))
    seen = {first[0].tobytes()}
    for row, (_, source) in zip(filled, candidates, strict=True):
        if (name := row.tobytes()) not in tried and name not in seen:
            seen.add(name)
            yield row, source
