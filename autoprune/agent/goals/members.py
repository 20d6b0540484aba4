"""The best model at a limit: of a front the last round, once for each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.finalists.inside import Inside, aimed_before
from autoprune.agent.housing.described import AT, TIGHTENED
from autoprune.agent.latency.gate import Gate, Measurement
from autoprune.agent.loop.loop import Loop
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.front import FrontSampler
from autoprune.agent.session import Session
from autoprune.artifacts.front import LeftOut
from autoprune.core.limit import limit_text
from autoprune.core.policy import Policy
from autoprune.core.progress import Progress
from autoprune.errors import BudgetError, ModelError, OutOfMemoryError
from autoprune.storage.records import Evaluation


@dataclass(frozen=True)
class Member:
    """The best model that was found at one limit, not yet verified.

    Args:
        number: Which limit it is, from 1.
        limit: The limit, as a user writes it.
        projection: What is feasible there.
        model: The model, fine-tuned.
        evaluation: Its evaluation.
        measured: Its latency by cost.
        share: What it costs, as a share of the dense model; a latency as it was measured.
    """

    number: int
    limit: str
    projection: Projection
    model: nn.Module
    evaluation: Evaluation
    measured: Mapping[str, Measurement]
    share: float

    @property
    def quality(self) -> float:
        """Its quality on the search split."""
        assert self.evaluation.quality is not None
        return self.evaluation.quality


def aim_as_before(session: Session) -> list[int]:
    """Aim at each limit where an earlier session did in the end: above it all was missed.

    Returns:
        How many trials there were to be in the end then, by limit; 0 where nothing was lowered.
    """
    projections = [sampler.projection for sampler in _samplers(session)]
    return [
        aimed_before(session.study, one, _remembered(_limit(session, one))) for one in projections
    ]


def helping(session: Session, loop: Loop) -> Loop:
    """Return what helps a front: where its agent lowered a limit, at the one lowered last."""
    trials = aim_as_before(session)
    latest = max(range(len(trials)), key=trials.__getitem__)
    if trials[latest] <= loop.trials:
        return loop
    session.study.sampler = own = FrontSampler([_samplers(session)[latest]], session.request.seed)
    return replace(loop, sampler=own, trials=trials[latest])


def members_of(session: Session, loop: Loop, gate: Gate) -> tuple[list[Member], list[LeftOut]]:
    """Fine-tune the best few at each limit, and return the best of each, the tightest first.

    Args:
        session: The search.
        loop: What scored policies; where latencies miss a limit, it scores more for that one.
        gate: What measures latency.

    Returns:
        The members, and the limits at which there is none.

    Raises:
        BudgetError: If there is none at any limit.
        ModelError: The same, or if memory ran out.
    """
    samplers = _samplers(session)
    own_trials = max(round(loop.trials / len(samplers)), 1)
    found, left_out = list[Member](), list[LeftOut]()
    problem: BudgetError | ModelError | None = None
    for number, sampler in enumerate(samplers, 1):
        limit = _limit(session, sampler.projection)
        note = f"point {number} of {len(samplers)}: {limit}"
        session.request.progress(Progress(stage="recover", done=0, total=1, note=note))
        gate = gate.under(sampler.projection.budget)
        own = FrontSampler([sampler], session.request.seed)  # what is still proposed is for it
        try:
            aimed = replace(loop, sampler=own)
            found.append(best_at(session, aimed, gate, number, own_trials))
        except OutOfMemoryError:  # it is no fault of this limit
            raise
        except (BudgetError, ModelError) as err:
            problem = err
            missed = isinstance(err, BudgetError) and bool(gate.pairs)  # by measurement
            left_out.append(LeftOut(limit=limit, reason=str(err), missed=missed))
    if not found and problem is not None:
        raise problem
    return found, left_out


def best_at(session: Session, loop: Loop, gate: Gate, number: int, trials: int) -> Member:
    """Search at the limit that ``loop`` proposes for; fine-tune the best few, return the best.

    Args:
        session: The search.
        loop: What scores policies, with as many trials as there are to be in the end.
        gate: What measures latency, under the budget of this limit.
        number: Which limit it is, from 1.
        trials: How many of them are for this limit.

    Raises:
        BudgetError: If nothing is inside by measurement.
        ModelError: If nothing could be scored or fine-tuned.
    """
    session.study.sampler = loop.sampler
    limit = _limit(session, loop.projection)
    recover = session.recover(loop.projection)
    inside = Inside(gate, loop, session.evaluations, trials, _remembered(limit), recover)
    model, winner = inside.winner()
    measured = gate.seen.get(winner.policy.fingerprint, {})
    return Member(
        number=number,
        limit=limit,
        projection=loop.projection,
        model=model,
        evaluation=winner,
        measured=measured,
        share=_share(session, winner.policy, measured),
    )


def _samplers(session: Session) -> Sequence[PolicySampler]:
    assert isinstance(session.sampler, FrontSampler)
    return session.sampler.samplers


def _cost(session: Session) -> str:
    assert session.request.traded is not None
    return session.request.traded


def _limit(session: Session, projection: Projection) -> str:
    """Return a limit on the cost that is traded as a user writes it."""
    return limit_text(_cost(session), projection.budget.limits[_cost(session)])


def _remembered(limit: str) -> str:
    """Return what the study remembers the lowered aim of one limit under."""
    return f"{TIGHTENED}{AT}{limit}"


def _share(session: Session, policy: Policy, measured: Mapping[str, Measurement]) -> float:
    cost = _cost(session)
    if cost in measured:
        return measured[cost].comparison.ratio
    projection = session.prepared.projection
    found, whole = projection.costs_of(policy), projection.cost.dense
    return found.as_dict()[cost] / whole.as_dict()[cost]
