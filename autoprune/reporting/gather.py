"""Reads the evidence of a run: its files and its database, which it leaves as they are."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from autoprune.agent.housing.listed import ListedRun
from autoprune.agent.housing.workspace import (
    CHECKS,
    FRONT,
    LATENCY,
    RESULT,
    SENSITIVITY,
    SESSIONS,
    SOURCE,
    STUDY,
)
from autoprune.artifacts.front import Front
from autoprune.artifacts.result import Result
from autoprune.core.heartbeat import Heartbeat, progress_text
from autoprune.core.yardstick import YARDSTICK, Yardstick
from autoprune.reporting.evidence import RunEvidence
from autoprune.reporting.gather_search import (
    evaluated,
    finalists,
    latency_tables,
    sensed,
    spent,
)
from autoprune.reporting.secrets import without_secrets
from autoprune.reporting.stored import Stored

F = TypeVar("F", bound=BaseModel)


def gather(listed: ListedRun) -> RunEvidence:
    """Return what is known of a run, finished or not.

    Raises:
        ConfigError: If its folder is gone, or a newer autoprune wrote its database.
        ArtifactError: If its ledger has an outcome of a newer autoprune.
        OutputError: If its database cannot be read.
    """
    with listed.opened() as (database, run):
        stored = Stored.of(database, run, listed.run.name if listed.on_server else STUDY)
    known, kept = _of_files(listed), stored.kept
    trials = evaluated(stored.trials, stored.limits)
    table, yardstick = kept.get(SENSITIVITY, {}), Yardstick.of(kept.get(YARDSTICK, {}))
    times = (stored.progressive, known.told, kept.get(CHECKS, {}).get("seconds"))
    return replace(
        known,
        sessions=without_secrets(list(kept.get(SESSIONS, ()))),
        source=str(kept.get(SOURCE, {}).get("path", "")),
        dense=stored.limits.dense or known.dense or _macs(yardstick),
        aims=stored.limits.aims,
        trials=trials,
        finalists=finalists(stored.evaluations),
        ledger=stored.ledger,
        sensed=sensed(table),
        latency=latency_tables(kept.get(LATENCY, {}), known.result, trials),
        spent=spent(stored.evaluations, table, *times),
        kept=yardstick,
    )


def _macs(yardstick: Yardstick) -> dict[str, float]:
    """Return what a yardstick says of the costs of the dense model."""
    return {} if yardstick.dense_macs is None else {"macs": yardstick.dense_macs}


def _of_files(listed: ListedRun) -> RunEvidence:
    """Return what is known of a run without its database: settings, state, result or front."""
    folder = listed.folder
    result, front = written_in(folder, RESULT, Result), written_in(folder, FRONT, Front)
    names = [one.folder for one in front.points] if front else []
    points = {name: written_in(folder, f"{name}/{RESULT}", Result) for name in names}
    told = result or front
    return RunEvidence(
        name=listed.name,
        state=listed.state,
        begun=listed.run.created_at,
        settings=without_secrets(dict(listed.run.config)),
        model_fp=listed.run.model_fp,
        data_fp=listed.run.data_fp,
        result=result,
        front=front,
        points={name: one for name, one in points.items() if one is not None},
        missing=_missing(listed, result, front, points),
        dense=told.dense.costs.as_dict() if told else {},
        progress=_progress(listed),
    )


def written_in(folder: Path | None, name: str, kind: type[F]) -> F | None:
    """Return the content of a file of a run; None if it is missing or of another version."""
    if folder is None:
        return None
    with suppress(OSError, UnicodeDecodeError, ValidationError):
        return kind.model_validate_json((folder / name).read_text(encoding="utf-8"))
    return None


def _missing(
    listed: ListedRun,
    result: Result | None,
    front: Front | None,
    points: Mapping[str, Result | None],
) -> list[str]:
    """Say what a report of this run cannot show."""
    gone = [
        f"The folder of {name} holds no result that this version reads."
        for name, one in points.items()
        if one is None
    ]
    if result is not None or front is not None:
        return gone
    if listed.state == "running":
        return ["It has no result yet: it is being searched. Make the report again later."]
    if listed.state == "stopped":
        return [
            "It has no result yet: it was stopped before its end. The command it was begun with "
            "goes on with it, with --if-exists resume."
        ]
    where = f"in {listed.folder} on this machine" if listed.folder else "on this machine"
    return [f"It is finished, but its result is not {where}, or another version wrote it."]


def _progress(listed: ListedRun) -> str:
    """Return how far a run that is being worked on is."""
    if listed.state != "running":
        return ""
    if listed.living:
        return progress_text(max(listed.living, key=lambda one: one.beaten_at).status)
    beat = Heartbeat.of(listed.folder) if listed.folder else None
    return progress_text(beat.status) if beat else ""
