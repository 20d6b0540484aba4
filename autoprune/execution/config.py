"""The schema of a search file (``search.yaml``)."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
)

from autoprune._hints import did_you_mean
from autoprune.core.budget import Budget
from autoprune.core.fingerprint import MAX_SEED
from autoprune.core.imports import parse_import
from autoprune.core.ledger import ROLLBACK
from autoprune.core.numbers import MOST, parse_count, parse_duration
from autoprune.core.pareto import POINTS, Pareto
from autoprune.core.paths import at_home
from autoprune.core.problems import explain
from autoprune.core.recovery import Recovery
from autoprune.core.tolerance import check_max_drop, parse_cost
from autoprune.core.yaml_file import read_yaml
from autoprune.errors import ConfigError


def parse_timeout(given: Any) -> float:
    """Return the seconds of a timeout, a number or a text like ``90s``, ``10m``, ``2h``, ``1d``.

    Raises:
        ConfigError: If ``given`` is no such text, or not above 0.
    """
    return parse_duration(given, "The timeout")


def _spelled_out(given: Any) -> Any:
    if isinstance(given, str):
        return {"target": given}
    if isinstance(given, Mapping | Call):
        return given
    raise ValueError(
        "the keys 'model', 'data' and 'task' must be 'FILE.py:NAME', 'MODULE:NAME' (or a task's "
        f"name), or a mapping with 'target' and 'args'. Got {given!r}."
    )


def _limits(given: Any) -> Budget:
    if not isinstance(given, Mapping | str | Budget):
        raise ValueError(f"the key 'budget' must map costs to limits: 'macs: 50%'. Got {given!r}.")
    return Budget.parse(given)


def _front(given: Any) -> Pareto:
    if not isinstance(given, Mapping | str | Pareto):
        raise ValueError(
            f"the key 'pareto' must be a cost or 'COST=LOW..HIGH': 'macs=25%..75%'. Got {given!r}."
        )
    return Pareto.parse(given)


def parse_workers(given: Any) -> int | Literal["auto"]:
    """Return how many policies are scored at a time, or ``auto``.

    Raises:
        ConfigError: If it is no number of at least 1, and not ``auto``.
    """
    return parse_count(given, "workers")


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _known_fields(given: Any) -> Any:
    if isinstance(given, Mapping):
        known = [field.name for field in fields(Recovery)]
        for key in given:
            if key not in known:
                hint = did_you_mean(str(key), known)
                raise ValueError(f"unknown key {key!r} in 'recovery'.{hint}")
    return given


class Call(BaseModel):
    """A function to call: an import string and keyword arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    args: dict[str, Any] = Field(default_factory=dict)


class SearchFile(BaseModel):
    """What a search file holds; the keys and their meaning are these fields.

    Args:
        model: Function that returns the dense architecture: ``FILE.py:NAME`` or ``MODULE:NAME``.
        checkpoint: Weights for it: a path, or an import string of a function that returns one.
        data: Function that returns the loaders of the task.
        task: Name of the task, or import string of a class of your own; with settings a mapping
            of ``target`` and ``args``.
        budget: Limit by cost.
        space: Shipped search space, or ``file:./mine.yaml``.
        trials: Evaluations of the search at most; a limit on latency may take some more.
        timeout: Seconds until the search stops asking for new policies; ``None`` is no limit.
        seed: Makes the run repeatable.
        out: Folder of the result, relative to where the command runs.
        recovery: How long and how pruned models are fine-tuned.
        recover: Function ``recover(model, epochs)`` that trains the finalists in place of ours:
            ``FILE.py:NAME`` or ``MODULE:NAME``.
        runner: Shipped runner, or ``file:./mine.yaml``.
        workers: Policies scored at a time, or ``auto``; the runner's own number if left out.
        onnx: Whether the result is exported to ONNX as well.
        database: URL or file of the database that runs share, for latencies and
            sensitivity tables.
        name: Name of the run on a database server; that of ``out`` if left out.
        sampler: What proposes policies: budgeted, spdy, tpe, cmaes, nsga2, random, minimax or
            uniform.
        sensitivity: Whether budgeted, spdy and minimax start from the sensitivity table.
        rollback: Share of the trials, at most, in which budgeted scores an alternative to a
            decision of the best policy so far.
        pareto: A cost, or ``COST=LOW..HIGH``: several models along a front in place of one. The
            budget may be left out then.
        points: Models along the front at most.
        max_drop: Points of quality, 100 x the metric (of one that is no share so much of it), that
            may be lost: the smallest model within them in place of the best one within the budget,
            which may be left out then.
        minimise: The cost that is to be low within ``max_drop``; ``macs`` if it is left out.
        warm_start: Folder of an earlier run, or a list of them, relative to where the command
            runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    model: Annotated[Call, BeforeValidator(_spelled_out)]
    data: Annotated[Call, BeforeValidator(_spelled_out)]
    budget: Annotated[Budget, BeforeValidator(_limits)] | None = None
    checkpoint: str | None = None
    task: Annotated[Call, BeforeValidator(_spelled_out)] = Call(target="classification")
    space: str = "default"
    trials: Annotated[int, Field(ge=1, le=MOST, strict=True)] = 40
    timeout: Annotated[float, BeforeValidator(parse_timeout)] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED, strict=True)] = 0
    out: Annotated[Path, AfterValidator(at_home)] = Path("runs/autoprune")
    recovery: Annotated[Recovery, BeforeValidator(_known_fields)] = Field(default_factory=Recovery)
    recover: str | None = None
    runner: str = "local"
    workers: Annotated[int | Literal["auto"], BeforeValidator(parse_workers)] | None = None
    onnx: Annotated[bool, Field(strict=True)] = True
    database: Annotated[str, Field(min_length=1)] | None = None
    name: Annotated[str, Field(min_length=1)] | None = None
    sampler: str = "budgeted"
    sensitivity: Annotated[bool, Field(strict=True)] = True
    rollback: Annotated[float, Field(ge=0, le=1)] = ROLLBACK
    pareto: Annotated[Pareto, BeforeValidator(_front)] | None = None
    points: Annotated[int, Field(ge=2, le=MOST, strict=True)] = POINTS
    max_drop: Annotated[float, BeforeValidator(check_max_drop)] | None = None
    minimise: Annotated[str, BeforeValidator(parse_cost)] | None = None
    warm_start: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = ()
    _path: Path = PrivateAttr(default=Path("search.yaml"))

    @property
    def path(self) -> Path:
        """The file this was read from, as the user gave it."""
        return self._path

    @property
    def base(self) -> Path:
        """Folder that the paths in the file are relative to, absolute."""
        return self._path.absolute().parent

    def reference(self, name: str) -> str:
        """Return ``name`` with the path of a ``file:`` reference made absolute."""
        scheme, colon, rest = name.partition(":")
        return f"file:{self.base / at_home(rest)}" if colon and scheme == "file" else name

    @property
    def shared_database(self) -> str | None:
        """The key ``database``: a URL as it is, else an absolute path."""
        if self.database is None or "://" in self.database:
            return self.database
        return str(self.base / at_home(self.database))


def load_search_file(path: Path) -> SearchFile:
    """Read and check a search file; nothing it names is imported yet.

    Raises:
        ConfigError: If the file cannot be read, or a key is unknown, missing or has a bad value.
    """
    raw = read_yaml(path)
    try:
        loaded = SearchFile.model_validate(raw)
        for key, call in (("model", loaded.model), ("data", loaded.data)):
            parse_import(call.target, what=f"{path}: {key}", error=ConfigError)
        if loaded.recover is not None:
            parse_import(loaded.recover, what=f"{path}: recover", error=ConfigError)
    except ValidationError as err:
        raise ConfigError(f"{path}: {explain(err, SearchFile)}") from err
    loaded._path = path
    return loaded
