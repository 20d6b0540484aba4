"""What passes between a search and Ray Tune, which runs in a thread of its own."""

from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import Any

import cloudpickle
import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from autoprune.core.workers import Done
from autoprune.execution.workers.reasons import MOST_STILLBORN, reason, stillborn
from autoprune.execution.workers.tune_trial import FOUND, JOB, STOPPED, VALUE, Parcel

_TICKET = "ticket"


class Exchange:
    """Jobs on their way to Ray Tune, and what comes back.

    Args:
        stopped: Who may end a job early, for its result.
    """

    def __init__(self, stopped: str) -> None:
        self.news: SimpleQueue[Done[Any] | BaseException | None] = SimpleQueue()
        self.closed = False
        self.resting = 0  # jobs that wait until Tune lets them go on
        self.starving = False  # whether all jobs rest, and no other one comes
        self.stillborn = 0  # processes in a row that could not begin
        self._stopped = stopped
        self._jobs: SimpleQueue[tuple[int, bytes]] = SimpleQueue()
        self._alive: dict[int, Trial] = {}
        self._found: dict[int, tuple[Any, BaseException | None]] = {}

    def anew(self) -> "Exchange":
        """Return one for other jobs."""
        return type(self)(self._stopped)

    def give(self, ticket: int, job: Any) -> None:
        """Let Tune have a job."""
        self._jobs.put((ticket, cloudpickle.dumps(job)))

    def next(self) -> dict[str, Any] | None:
        """Return the configuration of the next trial, None as long as there is none."""
        try:
            ticket, job = self._jobs.get_nowait()
        except Empty:
            return None
        return {_TICKET: ticket, JOB: Parcel(job), STOPPED: self._stopped}

    def begun(self, trial: Trial) -> None:
        """Take note of a trial that has a process now."""
        self._alive[_ticket(trial)] = trial
        self.stillborn = 0

    def reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Take in what a trial has found so far; Tune need not keep it."""
        self._found[_ticket(trial)] = result.pop(FOUND)

    def ended(self, trial: Trial) -> None:
        """Pass on what a trial has found that came to its end, or was stopped."""
        ticket = _ticket(trial)
        self._alive.pop(ticket, None)
        _empty(trial)
        if ticket in self._found:
            result, raised = self._found.pop(ticket)
            self.news.put(Done(ticket, result, raised=raised))
        else:
            self.news.put(Done(ticket, None, lost="stopped before it had found anything"))

    def lost(self, trial: Trial) -> None:
        """Pass on that a trial has lost its process."""
        ticket = _ticket(trial)
        self.stillborn += ticket not in self._alive
        self._alive.pop(ticket, None)
        self._found.pop(ticket, None)
        _empty(trial)
        why = trial.get_pickled_error() or trial.get_error() or "nobody knows how"
        if self.stillborn >= MOST_STILLBORN:
            self.news.put(stillborn(self.stillborn, why))
        self.news.put(Done(ticket, None, lost=f"ended: {reason(why)}"))

    def looked(self) -> None:
        """Count the trials that rest; one more makes room for a job."""
        before, alive = self.resting, list(self._alive.values())
        self.resting = sum(trial.status == Trial.PAUSED for trial in alive)
        if self.resting > before:
            self.news.put(None)

    def hungry(self) -> bool:
        """Tell once whether all jobs rest, and no other one comes."""
        told, self.starving = self.starving, False
        return told

    def kill(self) -> None:
        """End all processes at once."""
        for trial in list(self._alive.values()):
            actor = trial.temporary_state.ray_actor
            if actor is not None:
                ray.kill(actor)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return an empty one: Tune saves all it is given, and nothing goes on from there."""
        return type(self), (self._stopped,)


class JobSearcher(Searcher):
    """Hands out jobs as they come.

    Args:
        exchange: Where they come from.
    """

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(metric=VALUE, mode="min")
        self._exchange = exchange

    def suggest(self, trial_id: str) -> Any:
        """Return the next job, None as long as there is none."""
        return Searcher.FINISHED if self._exchange.closed else self._exchange.next()

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Return True: whoever gives jobs knows how many there may be."""
        return True

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: `JobCallback` is told more."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing: the books are kept elsewhere."""


class JobCallback(tune.Callback):
    """Tells what becomes of trials.

    Args:
        exchange: Where that goes.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def on_trial_start(self, iteration: int, trials: Any, trial: Trial, **info: Any) -> None:
        """Tell of a process."""
        self._exchange.begun(trial)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Tell of a stage."""
        self._exchange.reported(trial, result)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Trial, **info: Any) -> None:
        """Tell of an end."""
        self._exchange.ended(trial)

    def on_trial_error(self, iteration: int, trials: Any, trial: Trial, **info: Any) -> None:
        """Tell of a loss."""
        self._exchange.lost(trial)

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Tell of rests."""
        self._exchange.looked()


class Closing(tune.Stopper):
    """Ends all trials once there is nobody who waits for them.

    Args:
        exchange: What tells.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: no trial is ended for what it reports."""
        return False

    def stop_all(self) -> bool:
        """Tell whether nobody waits any more."""
        return self._exchange.closed


def _empty(trial: Trial) -> None:
    """Let go of what Tune keeps of every trial that has ended, and saves again and again."""
    trial.config[JOB].content = b""
    trial.invalidate_json_state()  # type: ignore[no-untyped-call]


def _ticket(trial: Trial) -> int:
    return int(trial.config[_TICKET])
