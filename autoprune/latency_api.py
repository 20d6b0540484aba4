"""The public functions about latency: build tables, check them, list and forget what is stored."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from autoprune._given import database_of, shown_by, space_of
from autoprune.agent.latency import stored
from autoprune.agent.latency.built import BuiltLatency
from autoprune.agent.latency.check import CheckedLatency, check_tables
from autoprune.agent.latency.search import ERROR, LIMIT_S, TargetLatency
from autoprune.agent.latency.stored import StoredLatencies
from autoprune.agent.latency.tables import build_tables, kept_of
from autoprune.core.fingerprint import check_seed
from autoprune.core.numbers import check_at_least, parse_duration, parse_share
from autoprune.core.progress import Progress, ProgressCallback
from autoprune.core.target import Target
from autoprune.cost.latency.runtimes import check_measurable, find_runtime
from autoprune.errors import ConfigError
from autoprune.space.schema import SearchSpace
from autoprune.storage.database import Database
from autoprune.storage.shared import missing_file, shared_database
from autoprune.surgery.accept import taken_out
from autoprune.surgery.discover import discover
from autoprune.surgery.nested import Inputs, arguments
from autoprune.surgery.tensors import copied

Targets = Target | str | Sequence[Target | str]


def build_latency(
    model: nn.Module,
    inputs: Inputs | Tensor,
    *,
    targets: Targets,
    space: str | SearchSpace = "default",
    error: float | str = ERROR,
    limit: float | str = LIMIT_S,
    seed: int = 0,
    database: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> list[BuiltLatency]:
    """Measure this device's steps and tables for a model, fit them, and store what was measured.

    A search with a limit on latency does the same; what is stored already it does not measure.

    Args:
        model: The dense model; it is left as it is.
        inputs: Arguments of one forward, tensors on the CPU; one alone may be given as it is.
        targets: What to measure with, such as ``"onnxruntime/threads=1"``; one or several.
        space: A shipped search space, ``"file:PATH"``, or the object: the tables are over the
            sizes that it allows.
        error: Share of the layers' time by which the tables may be wrong: ``0.03`` or ``"3%"``.
        limit: Seconds after which the tables of one target are left as they are.
        seed: That of the search they are for; it chooses the whole models of the fit.
        database: URL or file of the database that runs share; None for
            ``$AUTOPRUNE_DATABASE``, else a file in your settings folder.
        progress: Called with every `Progress`; None shows a bar on standard error.

    Raises:
        InputError: If anything given cannot be used, or a target cannot run the model here.
    """
    share = parse_share(error, "error")
    with _built(model, inputs, targets, space, share, limit, seed, database, progress) as (
        latencies,
        _,
        _,
    ):
        return [BuiltLatency.of(latency, share) for latency in latencies]


def check_latency(
    model: nn.Module,
    inputs: Inputs | Tensor,
    *,
    targets: Targets,
    policies: int = 15,
    draw: int = 0,
    space: str | SearchSpace = "default",
    error: float | str = ERROR,
    limit: float | str = LIMIT_S,
    seed: int = 0,
    database: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> list[CheckedLatency]:
    """Compare the tables with whole models of random policies, measured in pairs with the dense.

    Tables that are missing are built. What counts as measured is the ratio to the dense model
    times what that took when the tables were fitted: a machine that became slower or faster
    since then does not count as an error.

    Args:
        model: As for `build_latency`, like all that is not explained here.
        inputs: As there.
        targets: As there.
        policies: How many policies to measure; none that the fit has seen.
        draw: Seed that chooses them.
        space: As there.
        error: As there.
        limit: As there.
        seed: As there.
        database: As there.
        progress: As there.

    Raises:
        InputError: If anything given cannot be used, or a target cannot run the model here.
    """
    check_at_least("policies", policies, 1, int)
    check_seed(draw, "draw")
    share = parse_share(error, "error")
    with _built(model, inputs, targets, space, share, limit, seed, database, progress) as (
        latencies,
        kept,
        told,
    ):
        return [check_tables(one, kept, policies, told, seed=draw) for one in latencies]


def stored_latencies(database: str | Path | None = None) -> list[StoredLatencies]:
    """Return what the database that runs share holds, by device and target; it is not made.

    Args:
        database: As for `build_latency`.

    Raises:
        InputError: If the database cannot be used.
    """
    if missing_file(database_of(database)):
        return []
    with closing(_open(database)) as opened:
        return stored.stored_latencies(opened)


def forget_latency(target: Target | str, *, database: str | Path | None = None) -> int:
    """Delete what is stored of this device and a target, and return how many latencies it was.

    A database that is not there is not made.

    Args:
        target: The target.
        database: As for `build_latency`.

    Raises:
        InputError: If the database cannot be used, or the target cannot be measured here.
    """
    wanted = Target.parse(target)
    find_runtime(wanted)
    if missing_file(database_of(database)):
        return 0
    with closing(_open(database)) as opened:
        return stored.forget_latencies(opened, wanted)


@contextmanager
def _built(
    model: nn.Module,
    inputs: Inputs | Tensor,
    targets: Targets,
    space: str | SearchSpace,
    error: float,
    limit: float | str,
    seed: int,
    database: str | Path | None,
    progress: ProgressCallback | None,
) -> Iterator[tuple[list[TargetLatency], dict[str, tuple[int, ...]], ProgressCallback]]:
    """Yield tables by target, atoms kept at each level of each unit, and who is told."""
    limit_s = parse_duration(limit, "limit")
    check_seed(seed)
    wanted = _targets(targets)
    declared = space_of(space)
    with shown_by(progress) as told, closing(_open(database)) as opened:
        told(Progress(stage="trace", done=0, total=1))
        dense = copied(taken_out(model)).cpu()
        inputs = arguments(inputs)
        plan = discover(dense, inputs, np.random.default_rng(seed))
        told(Progress(stage="latency", done=0, total=1))
        latencies = [TargetLatency.of(dense, plan, inputs, one, opened) for one in wanted]
        spaces = build_tables(
            latencies, plan, declared, told, error=error, limit_s=limit_s, seed=seed
        )
        yield latencies, kept_of(plan, spaces), told


def _targets(given: Targets) -> list[Target]:
    """Return the targets, each once; all of them can be measured here."""
    listed = [given] if isinstance(given, Target | str) else list(given)
    targets = list(dict.fromkeys(Target.parse(one) for one in listed))
    if not targets:
        raise ConfigError(
            "Latency is measured with at least one target, for instance 'onnxruntime'. Got none."
        )
    for target in targets:
        check_measurable(target)
    return targets


def _open(database: str | Path | None) -> Database:
    return shared_database(database_of(database))
