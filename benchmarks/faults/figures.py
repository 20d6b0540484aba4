"""What the results of the fault benchmark come to."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from benchmarks.work import Results

_COUNTED = ("kills", "searches", "evaluations", "lost", "done_twice", "left_running")


def figures(results: Results) -> dict[str, Any]:
    """Return the benchmark's figures; None stands for what was not measured.

    ``kills``: processes that were killed, of ``searches``. ``lost``, ``done_twice``: finished
    evaluations that were gone or altered in the end, or made again; ``left_running``: trials and
    processes. ``same_policy``: of the searches with one worker, how many came to the policy of
    the undisturbed one. ``failed``: tasks that did not come to their end, by name.
    """
    tasks = {
        f"{kind}.{name}": facts for kind, one in results.items() for name, facts in one.items()
    }
    sums: Counter[str] = Counter()
    for facts in tasks.values():
        sums.update(
            {name: facts[name] for name in (*_COUNTED, "same", "compared") if name in facts}
        )
    found = {name: sums[name] if sums["searches"] else None for name in _COUNTED}
    return {
        **found,
        "same_policy": sums["same"] / sums["compared"] if sums["compared"] else None,
        "moments": dict(sorted(_moments(tasks).items())),
        "codes": {name: facts["code"] for name, facts in tasks.items() if "code" in facts},
        "failed": {name: facts["failure"] for name, facts in tasks.items() if "failure" in facts},
    }


def _moments(tasks: Mapping[str, Mapping[str, Any]]) -> Counter[str]:
    """Return how many processes were killed by what they had done last."""
    found: Counter[str] = Counter()
    for facts in tasks.values():
        found.update(facts.get("moments", {}))
    return found
