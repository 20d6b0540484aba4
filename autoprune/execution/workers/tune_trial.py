"""A trial of Ray Tune: one job of workers, a stage at each step; it can rest and go on."""

from collections.abc import Callable
from typing import Any, Self

import cloudpickle
from ray import tune

from autoprune.core.staged import Course, Interim, StagedWork
from autoprune.execution.workers.carried import unpacked
from autoprune.execution.workers.process import outcome

JOB, STOPPED = "job", "stopped"  # keys of a trial's configuration
FOUND, VALUE = "found", "value"  # keys of what it reports


class Parcel:
    """A job on its way; all of Tune's copies of a configuration hold the same one.

    Tune keeps every configuration in several forms for as long as it runs, and saves them: the
    content is taken out once nobody needs it.

    Args:
        content: The job, pickled.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        return "job"  # Tune names trials after what they are given


class JobTrial(tune.Trainable):
    """Does a job; a process that is there already takes the next one.

    The configuration holds the job as a `Parcel`. A report holds what the job came to and what the
    work raised, as a pair, and the value that schedulers compare, NaN where there is none.
    """

    def setup(self, config: dict[str, Any], content: bytes = b"", threads: int = 1) -> None:
        """Unpack the work, once for each process.

        Args:
            config: See above.
            content: The work, of `packed`.
            threads: CPU threads of PyTorch.
        """
        import torch

        torch.set_num_threads(threads)
        self._work = unpacked(content)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another job."""
        self._job = cloudpickle.loads(new_config[JOB].content)
        self._stopped = new_config.get(STOPPED, "")
        self._course: Course[Any] | None = None
        self.config = {}  # it would travel with each report
        return True

    def step(self) -> dict[str, Any]:
        """Go on to the next stage and report it."""
        found, raised = outcome(self._advanced, None)
        if raised is not None:
            return {FOUND: (None, raised), VALUE: float("nan"), "done": True}
        return {FOUND: (found.result, None), VALUE: found.value, "done": found.over}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | None:
        """Return all that the job needs to go on."""
        assert self._course is not None
        return self._course.state_dict()

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Go on from what was saved."""
        self._course = self._begun(checkpoint)

    def _begun(self, state: dict[str, Any] | None) -> Course[Any]:
        return begun(self._work, self._job, self._stopped, state)

    def _advanced(self, _: None) -> Interim[Any]:
        course = self._course = self._course or self._begun(None)
        return course.advance()


def begun(
    work: Callable[[Any], Any], job: Any, stopped: str, state: dict[str, Any] | None = None
) -> Course[Any]:
    """Return a job on its way: stage by stage, or in one go where the work knows no stages."""
    return work.begin(job, stopped, state) if isinstance(work, StagedWork) else _Whole(work, job)


class _Whole:
    """A job that is done in one go."""

    def __init__(self, work: Callable[[Any], Any], job: Any) -> None:
        self._work, self._job = work, job

    def advance(self) -> Interim[Any]:
        return Interim(self._work(self._job), 0.0, over=True)

    def state_dict(self) -> dict[str, Any]:
        return {}  # it has not begun, as it never rests
