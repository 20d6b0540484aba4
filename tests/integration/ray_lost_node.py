"""A node of a Ray cluster dies after a job was done there, and before anybody fetched it."""

import json

import numpy as np
import numpy.typing as npt
import ray
from ray.cluster_utils import Cluster

from autoprune.core.workers import Done
from autoprune.execution.workers.cluster import RayWorkers

LARGE = 400_000  # numbers: too many to be sent with the answer, so they stay where they are


def work(count: int) -> npt.NDArray[np.float64]:
    """Return as many numbers as the job says."""
    return np.ones(count)


def first_of(workers: RayWorkers) -> Done[npt.NDArray[np.float64]]:
    """Return the job that leaves its worker next."""
    while not (came := workers.wait()):
        pass
    (one,) = came
    return one


def main() -> None:
    """Lose a job, and do another one."""
    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    node = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    workers = RayWorkers(work, 1, {"num_cpus": 1}, 1)
    workers.submit(1, LARGE)
    ray.wait([workers._workers[0].promise], fetch_local=False)
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    lost = first_of(workers).lost
    workers.submit(2, LARGE)
    found = first_of(workers).result
    assert found is not None
    print(json.dumps({"lost": lost, "found": len(found)}))
    workers.close()
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
