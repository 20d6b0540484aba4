"""Ray ends actors where a node's memory runs out, here all of them at once."""

import json
import time
from typing import Any

import ray

from autoprune.errors import InfrastructureError
from autoprune.execution.workers.cluster import RayWorkers

NO_MEMORY = {
    "memory_usage_threshold": 0.01,
    "memory_monitor_refresh_ms": 500,
    "min_memory_free_bytes": -1,
}


def main() -> None:
    """Give a job again and again; tell how it was lost, and what is said in the end."""
    more: dict[str, Any] = {
        "log_to_driver": False,
        "_system_config": NO_MEMORY | {"min_memory_free_bytes": -1},
    }
    ray.init(num_cpus=1, include_dashboard=False, **more)
    workers = RayWorkers(time.sleep, 1, {"num_cpus": 1}, 1)
    workers.submit(1, 3600.0)
    lost = list[str]()
    try:
        while True:
            for one in workers.wait(5.0):
                lost.append(one.lost)
                workers.submit(1, 3600.0)
    except InfrastructureError as err:
        print(json.dumps({"lost": lost, "said": str(err)}))
    ray.shutdown()


if __name__ == "__main__":
    main()
