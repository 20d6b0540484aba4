"""The tasks of a benchmark, run one after the other, and what a person sees of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import timedelta
from inspect import signature
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID

from benchmarks.isolated import Facts, Job, prepare, run_isolated
from benchmarks.store import Key, Store, recipe_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One job on one thing.

    Args:
        kind: What is done, a word.
        name: To what.
        job: Does it; see `run_isolated`. One that takes ``folder`` is given a path below the
            store's: what it writes there survives a cut.
        arguments: For the job: plain JSON types, or a dataclass of them.
        limit: Seconds of processor time between two notes of the job.
        code: Fingerprint of the code whose change makes a stored result worthless.
    """

    kind: str
    name: str
    job: Job
    arguments: Mapping[str, Any]
    limit: float
    code: str

    @property
    def keeps(self) -> bool:
        """Whether the job takes a folder."""
        return "folder" in signature(self.job).parameters

    @property
    def key(self) -> Key:
        """Where the result is stored."""
        recipe = recipe_of({name: _plain(value) for name, value in self.arguments.items()})
        return Key(kind=self.kind, name=self.name, recipe=recipe, code=self.code)


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


_WINDOW = 600.0  # seconds whose tasks tell how long the others will take
Results = dict[str, dict[str, Facts]]


def run_all(
    tasks: Sequence[Task],
    store: Store,
    commit: str,
    seen: Callable[[Results], object] = lambda results: None,
) -> Results:
    """Return the facts of every task by kind and name; those in the store are not done again.

    Progress goes to standard error: a bar with the time left in a terminal, and a line per task.

    Args:
        tasks: What there is to do.
        store: What was done before.
        commit: Written beside the facts.
        seen: Given all that is known, before the first task if there is any, and after each; tasks
            to come have no facts.
    """
    prepare({task.job.__module__ for task in tasks})
    known = {task: store.get(task.key) for task in tasks}
    waiting = [task for task, facts in known.items() if facts is None]
    if waiting and len(waiting) < len(tasks):
        seen(_results(known))
    console = Console(stderr=True, highlight=False)
    with Progress(console=console, speed_estimate_period=_WINDOW) as progress:
        bar = progress.add_task("tasks", total=len(waiting))
        for task in waiting:
            given = dict(task.arguments)
            if task.keeps:
                given["folder"] = str(store.folder_of(task.key))
            found = run_isolated(task.job, given, task.limit) | {"commit": commit}
            store.put(task.key, found)
            known[task] = found
            seen(_results(known))
            progress.advance(bar)
            progress.console.print(_line(progress, bar, task, found), soft_wrap=True)
    return _results(known)


def _results(known: Mapping[Task, Facts | None]) -> Results:
    results: Results = {}
    for task, facts in known.items():
        results.setdefault(task.kind, {})[task.name] = facts or {}
    return results


def _line(progress: Progress, bar: TaskID, task: Task, facts: Facts) -> str:
    state = next(one for one in progress.tasks if one.id == bar)
    left = timedelta(seconds=round(state.time_remaining or 0))
    verdict = facts.get("failure", "done")
    seen = f"{state.completed:g}/{state.total:g} {task.kind} {task.name}: {verdict}"
    return escape(f"{seen}, {facts['seconds']} s ({left} left)")
