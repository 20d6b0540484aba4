"""Who is to blame where workers are lost: one job, or what the workers run on."""

from dataclasses import dataclass

from autoprune.core.workers import WorkersLostError
from autoprune.errors import InfrastructureError

_MOST = 3  # jobs in a row that cost their workers, before it is not the jobs


@dataclass
class LostWorkers:
    """Counts jobs, one after the other, that cost their workers.

    Args:
        jobs: What the jobs are called, such as ``policies``.
        count: How many did so since the last one that came back.
    """

    jobs: str
    count: int = 0

    def came_back(self) -> None:
        """Take in that a job came back, so that workers do live."""
        self.count = 0

    def blame(self, lost: WorkersLostError) -> str:
        """Return what one job did to its workers.

        Raises:
            InfrastructureError: If the last three jobs did so: then it is not the jobs.
        """
        self.count += 1
        if self.count >= _MOST:
            raise InfrastructureError(
                f"The last {self.count} {self.jobs} each cost {lost}. What was scored before is "
                "kept. Look for what ends the workers, memory that runs out for one; the same "
                "command goes on."
            )
        return f"it cost {lost}"
