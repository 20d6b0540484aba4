"""What a job is, whatever starts it: one command that can be given again and again."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from autoprune.core.numbers import parse_duration
from autoprune.errors import ConfigError
from autoprune.execution.config import load_search_file
from autoprune.execution.jobs.schedule import Schedule

RESUMABLE = (3, 4)
"""Exit codes after which the same command goes on: its deadline came, or the cluster failed."""
WRONG_INPUT = 2
"""Exit code that no second try mends."""
_WAIT = "1h"  # for agents: the search may have to profile the model first


@dataclass(frozen=True, kw_only=True)
class Job:
    """A search as a job.

    Args:
        name: What the scheduler calls it.
        file: The search file, as seen from the folder the job runs in.
        run: Folder of the run, likewise.
        deadline: Time that one start may take: ``6h``.
        schedule: When it starts again and again; None for once.
        search_runner: Runner of the search; None for the search file's.
        moved: Whether ``run`` is another folder than the search file says.
    """

    name: str
    file: Path
    run: Path
    deadline: str = "6h"
    schedule: Schedule | None = None
    search_runner: str | None = None
    moved: bool = False

    @property
    def seconds(self) -> float:
        """The deadline in seconds."""
        return parse_duration(self.deadline, "--deadline")

    @property
    def command(self) -> tuple[str, ...]:
        """The words of the command that runs or resumes the search."""
        runner = () if self.search_runner is None else ("--runner", self.search_runner)
        out = ("--out", str(self.run)) if self.moved else ()
        options = ("--if-exists", "resume", "--deadline", self.deadline, "--json", *runner, *out)
        return ("autoprune", "search", _operand(self.file), *options)

    @property
    def agent(self) -> tuple[str, ...]:
        """The words of the command that joins the search with one more agent."""
        options = ("--file", str(self.file), "--wait", _WAIT, "--deadline", self.deadline)
        return ("autoprune", "agent", "join", _operand(self.run), *options)

    @property
    def probe(self) -> tuple[str, ...]:
        """The words of the command that tells by its exit code whether the search is alive."""
        return ("autoprune", "runs", "status", _operand(self.run))


def read_job(
    file: Path,
    *,
    name: str | None = None,
    deadline: str = "6h",
    schedule: str | None = None,
    search_runner: str | None = None,
    runs: str | None = None,
) -> Job:
    """Return the job of a search file, which is read and checked.

    Args:
        file: The search file.
        name: Name of the job; None for one made from the run's folder.
        deadline: Time that one start may take.
        schedule: Five fields of cron, or None.
        search_runner: Runner of the search; None for the search file's.
        runs: Folder in which the run gets one of the job's name; None for the search file's.

    Raises:
        ConfigError: If the file, the deadline or the schedule cannot be understood.
    """
    settings = load_search_file(file)
    name = _made_of(settings.out) if name is None else name
    return Job(
        name=name,
        file=file,
        run=settings.out if runs is None else Path(runs) / name,
        deadline=_with_unit(deadline),
        schedule=None if schedule is None else Schedule.parse(schedule),
        search_runner=search_runner,
        moved=runs is not None,
    )


def require_name(name: str, form: str, longest: int, told: str) -> None:
    """Refuse a name that a scheduler would refuse or change.

    Args:
        name: The name.
        form: Regular expression that it must match as a whole.
        longest: Characters at most.
        told: The form in words.

    Raises:
        ConfigError: If it is refused.
    """
    if len(name) > longest or not re.fullmatch(form, name, re.ASCII):
        raise ConfigError(
            f"The job's name must be {told}, at most {longest} characters. Got {name!r}. "
            "Give another with --name."
        )


def _made_of(run: Path) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", run.name.lower()).strip("-")
    return f"autoprune-{words}"[:37].strip("-") if words != "autoprune" else words


def _with_unit(deadline: str) -> str:
    """Return a deadline as the commands take it, which refuse a number that has no unit."""
    seconds = parse_duration(deadline, "--deadline")
    text = deadline.strip()
    return text if text[-1].isalpha() else f"{math.ceil(seconds)}s"


def _operand(path: Path) -> str:
    """Return a path that no command takes for an option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text
