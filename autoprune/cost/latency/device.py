"""The device that latencies are measured on, told apart by what it is and never by its name."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoprune.core.fingerprint import fingerprint
from autoprune.core.target import Target
from autoprune.cost.latency.runtimes import find_runtime

# Instructions that kernels are chosen by; those of ARM are named differently by Linux.
_INSTRUCTIONS = {
    *("fma", "avx", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "asimddp", "neon", "i8mm", "bf16", "sve", "sve2", "sme"),
}
_CPUINFO = Path("/proc/cpuinfo")
_MAC_NAME = ("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string")


@dataclass(frozen=True, slots=True)
class Device:
    """A device, as far as latencies depend on it.

    Args:
        facts: What it is made of, by name.
    """

    facts: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the facts, 64 hex digits."""
        return fingerprint(dict(self.facts))


def this_device(target: Target) -> Device:
    """Return the device that this process measures ``target`` on.

    Threads are among the facts: a target that leaves them open takes another number of them in
    another process.

    Raises:
        ConfigError: If the target cannot be measured here.
    """
    runtime = find_runtime(target)
    return Device({**_machine(), "threads": str(target.cores), **runtime.facts(target)})


def _machine() -> dict[str, str]:
    fields = _cpuinfo(_CPUINFO)
    flags = set((fields.get("flags") or fields.get("Features") or "").lower().split())
    return {
        "cpu": _cpu(fields),
        "cores": str(os.cpu_count()),
        "instructions": " ".join(sorted(flags & _INSTRUCTIONS)),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu(fields: Mapping[str, str]) -> str:
    """Return the model of the CPU; Linux on ARM gives numbers in place of a name."""
    numbers = [v for k in ("CPU implementer", "CPU part", "CPU variant") if (v := fields.get(k))]
    named = fields.get("model name") or " ".join(numbers) or _mac_name() or platform.processor()
    return re.sub(r"\s+", " ", named).strip() or platform.machine()


def _mac_name() -> str:
    if platform.system() != "Darwin":
        return ""
    try:
        done = subprocess.run(_MAC_NAME, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _cpuinfo(path: Path) -> dict[str, str]:
    """Return the fields of the first core that Linux lists, nothing elsewhere."""
    try:
        first = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
