"""What a scheduler knows of a job, and what became of submitting one."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One entry of a scheduler.

    Args:
        id: How the scheduler names it.
        kind: What it is: ``job``, ``CronJob``, ``RayJob``.
        state: Its state in the scheduler's words.
        since: When it was started or made, or how long it runs, in the scheduler's words.
        told: What else there is to tell: a reason, an exit code.
    """

    id: str
    kind: str
    state: str
    since: str = ""
    told: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the fields as JSON takes them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of submitting a job.

    Args:
        id: How the scheduler names it.
        told: A sentence for people.
        new: Whether something was started or changed; False if the job was there already.
    """

    id: str
    told: str
    new: bool = True

    def to_dict(self) -> dict[str, str | bool]:
        """Return the fields as JSON takes them."""
        return asdict(self)


def again(delete: str) -> str:
    """Say how a job that is done is begun again, for instance to score more policies.

    Args:
        delete: The command that deletes the old one.
    """
    return (
        f"To go on with its run, after 'trials' was raised for instance, give another --name, or "
        f"delete the old job: {delete}."
    )
