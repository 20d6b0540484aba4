"""One search along a front: a fine-tuned, verified model at each limit that is worth one."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from autoprune.agent.goals.members import Member, aim_as_before, members_of
from autoprune.agent.housing.workspace import FRONT, PAGE, POINTS, REPORT
from autoprune.agent.latency.gate import Gate
from autoprune.agent.request import Request
from autoprune.agent.results.finished import finished
from autoprune.agent.results.result import SearchResult, finish
from autoprune.agent.run import run
from autoprune.agent.samplers.names import check_along_fronts
from autoprune.agent.session import Session
from autoprune.artifacts.files import write_text
from autoprune.artifacts.front import Front, FrontPoint, LeftOut
from autoprune.artifacts.result import SearchCost
from autoprune.core.pareto import dominators
from autoprune.errors import ConfigError


@dataclass(frozen=True)
class FrontResult:
    """What a search along a front returns.

    Args:
        folder: Where it was written.
        front: The content of ``front.json``.
        points: The result of each point, the smallest first.
    """

    folder: Path
    front: Front
    points: Sequence[SearchResult]


def run_front(request: Request) -> FrontResult:
    """Search along a front: score policies, recover the best few at each limit, verify, write.

    Raises:
        InputError: If anything given cannot be used; see `autoprune.errors`.
        VerificationError: If a point fails a check; those verified before it stay.
    """
    check_along_fronts(request.sampler)
    if request.trials < request.points:
        raise ConfigError(
            f"A front of {request.points} points needs as many trials at least. "
            f"Got {request.trials}. Set more trials or fewer points."
        )
    return run(request, _finished, _search)


def _search(session: Session) -> FrontResult:
    request, loop = session.request, session.loop()
    aim_as_before(session)
    loop.run()
    with Gate.open(session.prepared.pricing.latencies, request.budget) as gate:
        found, left_out = members_of(session, loop, gate)
    chosen, dominated = non_dominated(found)
    spent = session.cost(loop)
    _clear(request.out, chosen)
    points = _finish(session, chosen, spent)
    front = _front(request, chosen, points, [*left_out, *dominated], spent)
    write_text(request.out / FRONT, front.to_json())
    return FrontResult(request.out, front, points)


def non_dominated(found: Sequence[Member]) -> tuple[list[Member], list[LeftOut]]:
    """Return the members of the front, the smallest first, and why the others are none."""
    better = dominators([(one.quality, one.share) for one in found])
    chosen = [one for one, by in zip(found, better, strict=True) if by is None]
    why = "its best model is no better than that of"
    left_out = [
        LeftOut(limit=one.limit, reason=f"{why} {found[by].limit}, and costs no less")
        for one, by in zip(found, better, strict=True)
        if by is not None
    ]
    return sorted(chosen, key=lambda one: one.share), left_out


def _finish(session: Session, chosen: Sequence[Member], spent: SearchCost) -> list[SearchResult]:
    """Verify the members, measure each once on the test split, write each to its folder.

    One that an earlier session finished is left as it is.
    """
    points = list[SearchResult]()
    for member in chosen:
        request = replace(
            session.request,
            budget=member.projection.budget,
            out=session.request.out / _folder(member),
            trials=spent.evaluations,
        )
        point = finished(request)
        if point is None or point.policy != member.evaluation.policy:
            shutil.rmtree(request.out, ignore_errors=True)
            request.out.mkdir()
            point = finish(
                request,
                session.prepared,
                member.model,
                member.evaluation,
                spent,
                member.measured,
                points[0].result.dense.quality_test if points else None,
                steps=session.steps(member.evaluation),
            )
        points.append(point)
    return points


def _front(
    request: Request,
    chosen: Sequence[Member],
    points: Sequence[SearchResult],
    left_out: Sequence[LeftOut],
    spent: SearchCost,
) -> Front:
    assert request.pareto is not None
    cost, largest = request.pareto.cost, points[-1].result
    return Front(
        task=largest.task,
        metric=largest.metric,
        higher_is_better=largest.higher_is_better,
        is_share=largest.is_share,
        cost=cost,
        budget={name: text for name, text in request.budget.to_dict().items() if name != cost},
        dense=largest.dense,
        points=[
            FrontPoint(
                folder=_folder(member),
                limit=member.limit,
                share=member.share,
                pruned=point.result.pruned,
            )
            for member, point in zip(chosen, points, strict=True)
        ],
        left_out=list(left_out),
        search=spent,
        versions=largest.versions,
    )


def _folder(member: Member) -> str:
    return POINTS.replace("*", str(member.number))


def _clear(folder: Path, chosen: Sequence[Member]) -> None:
    """Take away what an earlier front left, but for points that may be points again."""
    for name in (FRONT, PAGE, REPORT):
        (folder / name).unlink(missing_ok=True)
    again = set(map(_folder, chosen))
    for path in folder.glob(POINTS):
        if path.name not in again:
            shutil.rmtree(path)


def _finished(request: Request) -> FrontResult | None:
    """Return the stored front if a resumed run would only come to it again, None otherwise."""
    folder = request.out
    if request.if_exists != "resume" or not (folder / FRONT).is_file():
        return None
    try:
        front = Front.model_validate_json((folder / FRONT).read_text(encoding="utf-8"))
    except (ValidationError, OSError, UnicodeDecodeError):
        return None
    if any(one.missed for one in front.left_out):  # the device may be less busy now
        return None
    points = [finished(replace(request, out=folder / one.folder)) for one in front.points]
    known = [one for one in points if one is not None]
    return FrontResult(folder, front, known) if len(known) == len(points) else None
