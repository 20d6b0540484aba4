"""What the results of the scale benchmark come to."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.work import Results

DOUBLED = ("local", "ray")


def figures(results: Results) -> dict[str, Any]:
    """Return the benchmark's figures; None stands for what was not measured.

    ``local_2x``, ``ray_2x``: evaluations per second of two workers by those of one, median of
    pairs; ``_apart``: those of two searches at once that share nothing but the machine, which
    is what it can give. ``sim1000_busy_share``: share of their time that 1,000 simulated workers
    score, with SQLite; ``_postgresql``: with a run on a server. ``ask_ms_at_10k``: processor time
    of one proposal where 10,000 trials are stored, ``_wall``: on the clock. ``driver_mb``: the
    most memory of the driver in these, without the files of its libraries, ``_rss``: with them.
    """
    doubled = results.get("doubled", {})
    simulated, asked = results.get("sim", {}), results.get("ask", {}).get("budgeted", {})
    return {
        **{f"{kind}_2x": _ratio(doubled.get(kind, {}), "two") for kind in DOUBLED},
        **{f"{kind}_2x_apart": _ratio(doubled.get(kind, {}), "apart") for kind in DOUBLED},
        "sim1000_busy_share": simulated.get("sqlite", {}).get("busy_share"),
        "sim1000_busy_share_postgresql": simulated.get("postgresql", {}).get("busy_share"),
        "ask_ms_at_10k": asked.get("alone_processor_ms"),
        "ask_ms_at_10k_wall": asked.get("alone_ms"),
        "ask_ms_at_10k_batch": asked.get("batch_processor_ms"),
        "driver_mb": _most(simulated, asked, "own_mb"),
        "driver_mb_rss": _most(simulated, asked, "rss_mb"),
    }


def _ratio(found: Mapping[str, Any], name: str) -> float | None:
    pairs = list(zip(found.get("one", ()), found.get(name, ()), strict=False))
    return float(np.median([more / one for one, more in pairs])) if pairs else None


def _most(
    simulated: Mapping[str, Mapping[str, Any]], asked: Mapping[str, Any], name: str
) -> float | None:
    known = [value for facts in simulated.values() for value in facts.get(name, ())]
    known += [asked[name]] if name in asked else []
    return max(known) if known else None
