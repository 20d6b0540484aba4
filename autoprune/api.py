"""The public function that searches: everything that a search needs is wired together here."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args, overload

from torch import nn

from autoprune._given import database_of, runner_of, shown_by, space_of
from autoprune.agent.feasible.task_space import space_for
from autoprune.agent.goals.front import FrontResult, run_front
from autoprune.agent.goals.tolerance import run_tolerance
from autoprune.agent.housing.workspace import IfExists
from autoprune.agent.request import Request
from autoprune.agent.results.result import SearchResult
from autoprune.agent.run import run_search
from autoprune.agent.samplers.names import DEFAULT
from autoprune.artifacts.constructor import Constructor
from autoprune.core.budget import Budget, BudgetLike
from autoprune.core.fingerprint import check_seed
from autoprune.core.ledger import ROLLBACK
from autoprune.core.numbers import check_at_least, check_share
from autoprune.core.pareto import POINTS, Pareto
from autoprune.core.paths import at_home
from autoprune.core.progress import ProgressCallback
from autoprune.core.recover_function import RecoverFunction
from autoprune.core.recovery import Recovery
from autoprune.core.tolerance import Tolerance
from autoprune.errors import ConfigError
from autoprune.execution.runners import SearchRunner
from autoprune.search_reports import front_with_reports, with_reports
from autoprune.space.schema import SearchSpace
from autoprune.surgery.accept import taken_out
from autoprune.tasks import Task
from autoprune.tasks.base import check_task

ParetoLike = Pareto | str | Mapping[str, Any]
RecoverLike = RecoverFunction | Callable[[nn.Module, int], nn.Module | None] | str


class _Options(TypedDict, total=False):
    """What `search` takes whatever it searches."""

    space: str | SearchSpace
    trials: int
    timeout: float | None
    seed: int
    out: str | Path
    if_exists: IfExists
    recovery: Recovery | None
    recover: RecoverLike | None
    constructor: Constructor | str | None
    runner: str | SearchRunner
    workers: int | Literal["auto"] | None
    onnx: bool
    database: str | Path | None
    name: str | None
    source: str | Path | None
    sampler: str
    sensitivity: bool
    rollback: float
    warm_start: str | Path | Iterable[str | Path]
    progress: ProgressCallback | None


@overload
def search(
    model: nn.Module, *, task: Task, budget: BudgetLike, **options: Unpack[_Options]
) -> SearchResult: ...


@overload
def search(
    model: nn.Module,
    *,
    task: Task,
    max_drop: float,
    minimise: str | None = ...,
    budget: BudgetLike | None = ...,
    **options: Unpack[_Options],
) -> SearchResult: ...


@overload
def search(
    model: nn.Module,
    *,
    task: Task,
    pareto: ParetoLike,
    points: int = ...,
    budget: BudgetLike | None = ...,
    **options: Unpack[_Options],
) -> FrontResult: ...


def search(
    model: nn.Module,
    *,
    task: Task,
    budget: BudgetLike | None = None,
    pareto: ParetoLike | None = None,
    points: int = POINTS,
    max_drop: float | None = None,
    minimise: str | None = None,
    space: str | SearchSpace = "default",
    trials: int = 40,
    timeout: float | None = None,
    seed: int = 0,
    out: str | Path = "runs/autoprune",
    if_exists: IfExists = "fail",
    recovery: Recovery | None = None,
    recover: RecoverLike | None = None,
    constructor: Constructor | str | None = None,
    runner: str | SearchRunner = "local",
    workers: int | Literal["auto"] | None = None,
    onnx: bool = True,
    database: str | Path | None = None,
    name: str | None = None,
    source: str | Path | None = None,
    sampler: str = DEFAULT,
    sensitivity: bool = True,
    rollback: float = ROLLBACK,
    warm_start: str | Path | Iterable[str | Path] = (),
    progress: ProgressCallback | None = None,
) -> SearchResult | FrontResult:
    """Search the best pruned model inside a budget, and write it with its evidence.

    With ``pareto`` it is several models, which trade one cost for quality: a `FrontResult`. With
    ``max_drop`` it is the smallest model whose quality is within that drop of the dense model's.

    Args:
        model: A trained model; its weights are not changed.
        task: Data, loss and metric, for instance ``autoprune.Classification(loaders)``.
        budget: Upper limits, ``"macs=50%"`` or ``{"macs": "50%", "size": "1MB"}``; may be left
            out with ``pareto`` or ``max_drop``, else they hold for every model.
        pareto: A cost, ``"macs"``, or a cost and the range of its limits, ``"macs=25%..75%"`` or
            ``"latency=20%..60%@onnxruntime"``. Without a range the upper end is the budget's
            limit on it, else 80%, the lower end a quarter of that or what can be reached.
        points: Models along the front at most, at least 2; of a front, ``trials`` are shared.
        max_drop: Points of quality (100 x the task's metric) that may be lost at most, on the
            search split, after recovery; of a metric that is no share, so much of it. ``trials``
            are shared by the limits that are tried.
        minimise: The cost that is to be low within the drop, ``"macs"`` if not given, ``"params"``
            or ``"latency@onnxruntime"``; the budget's limit on it is the highest that is tried.
        space: A shipped search space, ``"file:PATH"``, or the object.
        trials: Policies to score, at least 1. Where every measured model misses a limit on
            latency, up to 125% more are, in rounds of 25% that aim lower.
        timeout: Seconds after which no further policy is scored, None for no limit. Recovering
            and checking the best come after it.
        seed: Makes the whole run repeatable.
        out: Folder for the run and its result.
        if_exists: What to do if ``out`` holds a run: ``fail``, ``resume`` or ``overwrite``. A
            finished run that is resumed with no more trials returns its result as it is.
        recovery: How much candidates are fine-tuned.
        recover: Your own training of the finalists, a function ``recover(model, epochs)`` or its
            import string: it trains the model in place or returns it.
        constructor: Import string of what builds the architecture, ``"pkg.module:name"`` or
            ``"file.py:name"``; with it `load` needs no model.
        runner: A shipped runner, ``"file:PATH"``, or the object: where policies are scored, on
            which device, with how many threads.
        workers: Policies scored at a time, ``"auto"`` for as many as there is room for; None for
            the runner's own number, which is 1 on this machine. With several, the order in which
            scores come decides what is proposed, not the seed alone.
        onnx: Whether the result is exported to ONNX as well.
        database: URL or file of the database that runs share: scores, latencies and sensitivity
            tables are not paid for twice. None for ``$AUTOPRUNE_DATABASE``, else a file in your
            settings folder. On a server the run itself lives there too, and agents can `join` it.
        name: Name of the run on a server; None for that of its folder.
        source: The search file it comes from, which agents that join it on this machine or on
            one with the same paths read.
        sampler: What proposes policies: ``budgeted`` (ours), ``spdy``, an Optuna sampler under
            the same budget (``tpe``, ``cmaes``, ``nsga2``, ``random``), or a single allocation
            as a baseline (``minimax``, ``uniform``).
        sensitivity: Whether ``budgeted``, ``spdy`` and ``minimax`` start from the sensitivity
            table, which is measured if the database does not know it.
        rollback: Share of the trials, at most, in which ``budgeted`` scores an alternative to
            a decision of the best policy so far; the ledger keeps what came of it. 0 examines
            none.
        warm_start: Folders of earlier runs on the same or a similar model. Their best policies
            are proposed first, and ``budgeted`` learns how much their scores tell about this
            search's, which may be nothing. A run that is resumed need not be told again.
        progress: Called with every `Progress`; None shows a bar on standard error.

    Raises:
        InputError: If anything given cannot be used.
        VerificationError: If the winner fails a check; nothing is written as a result then, but
            points of a front that were verified before stay.
    """
    check_task(task)
    if if_exists not in get_args(IfExists):
        raise ConfigError(f"if_exists must be one of {get_args(IfExists)}. Got {if_exists!r}.")
    check_at_least("trials", trials, 1, int)
    check_at_least("points", points, 2, int)
    check_share("rollback", rollback)
    check_seed(seed)
    recovery = recovery or Recovery()
    recovery.check_effect()
    check_at_least("timeout", 0 if timeout is None else timeout, 0, int | float)
    front = None if pareto is None else Pareto.parse(pareto)
    tolerance = _tolerance(max_drop, minimise, front, task.is_share)
    limits = None if budget is None else Budget.parse(budget)
    aim = front or tolerance
    if aim is not None:
        limits = aim.widest(limits)
    if limits is None:
        raise ConfigError(
            "Give a budget like 'macs=50%', or a front with pareto='macs', or a drop of quality "
            "with max_drop=1.0."
        )
    place = runner_of(runner).with_workers(workers)
    place.check(recovery, own_training=recover is not None)
    with shown_by(progress) as told, place.applied() as at:
        request = Request(
            model=taken_out(model),
            task=task,
            budget=limits,
            space=space_for(task, space_of(space)),
            trials=trials,
            timeout=timeout,
            seed=seed,
            out=at_home(out),
            if_exists=if_exists,
            recovery=recovery,
            recover=None if recover is None else RecoverFunction.of(recover),
            constructor=_constructor(constructor),
            device=at.device,
            runner=place.told(runner),
            hire=at.hire,
            populate=at.populate,
            onnx=onnx,
            database=database_of(database),
            name=name,
            source=None if source is None else Path(source),
            progress=told,
            sampler=sampler,
            sensitivity=sensitivity,
            rollback=float(rollback),
            pareto=front,
            points=points,
            tolerance=tolerance,
            warm_start=_folders(warm_start),
        )
        if front is not None:
            return front_with_reports(run_front(request), request)
        found = (run_tolerance if tolerance else run_search)(request)
        return with_reports(found, request)


def _tolerance(
    max_drop: float | None, minimise: str | None, front: Pareto | None, is_share: bool
) -> Tolerance | None:
    """Return what may be given up, None if nothing is asked about that."""
    if max_drop is None and minimise is not None:
        raise ConfigError(
            f"minimise={minimise!r} says what is to be low within a drop of quality. Give "
            "max_drop as well, or leave it out."
        )
    if max_drop is None:
        return None
    if front is not None:
        raise ConfigError(
            f"max_drop searches the one smallest model within a drop, pareto={str(front)!r} "
            "several models along a front. Give one of them."
        )
    return Tolerance.parse(max_drop, minimise, is_share)


def _folders(given: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    many = [given] if isinstance(given, str | Path) else given
    return tuple(at_home(folder) for folder in many)


def _constructor(given: Constructor | str | None) -> Constructor | None:
    return Constructor(target=given) if isinstance(given, str) else given
