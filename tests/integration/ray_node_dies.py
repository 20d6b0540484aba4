"""The raylet of the node where a search runs is killed: that is told before Ray ends it all."""

import json
import time

import psutil

from autoprune.core.workers import Crew
from autoprune.errors import InfrastructureError
from autoprune.execution.runners.cluster import RayRunner


def main() -> None:
    """Wait for a job while the raylet is killed."""
    said = ""
    try:
        with (
            RayRunner(workers=1, device="cpu").applied() as place,
            place.hire(time.sleep) as workers,
        ):
            crew = Crew(workers)
            crew.give(1, 3600.0)
            list(crew.done(10.0))
            every = psutil.Process().children(recursive=True)
            next(one for one in every if one.name() == "raylet").kill()
            while crew.busy:
                list(crew.done())
    except InfrastructureError as err:
        said = str(err)
    print(json.dumps({"said": said}))


if __name__ == "__main__":
    main()
