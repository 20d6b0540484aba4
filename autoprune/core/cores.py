"""How many cores this process may use."""

import os
from math import ceil
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Return the logical cores that this process may run on, at least 1.

    A container is often given a share of all cores' time instead of fewer cores: more threads
    than that share would be stopped and started by the kernel in the middle of a forward.

    Args:
        cgroup: Folder where Linux tells the share of a container.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    share = _share(cgroup)
    return max(1, cores if share is None else min(cores, ceil(share)))


def _share(cgroup: Path) -> float | None:
    """Return the cores' time per time that a control group may use, None without a limit."""
    new = _words(cgroup / "cpu.max")
    old = _words(cgroup / "cpu/cpu.cfs_quota_us") + _words(cgroup / "cpu/cpu.cfs_period_us")
    quota, period = next((found for found in (new, old) if len(found) == 2), ("max", "1"))
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    return int(quota) / int(period)


def _words(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return ()
