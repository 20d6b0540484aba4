"""The benchmark of what proposing costs: every size is measured, the worst is the figure."""

from typing import Any

from benchmarks.search.figures import figures
from benchmarks.search.overhead import measure


def test_every_size_is_measured_and_the_worst_is_the_figure() -> None:
    facts: dict[str, Any] = {}
    measure(lambda **new: facts.update(new), units=4, levels=5, sizes=(12, 20), trials=2)
    assert facts["sizes"] == [12, 20]
    for name in ("ms", "worst_ms", "first_ms"):
        assert len(facts[name]) == 2
        assert all(took > 0 for took in facts[name])
    assert figures({"overhead": {"budgeted": facts}})["overhead_ms_per_trial"] == max(facts["ms"])
    assert figures({})["overhead_ms_per_trial"] is None


def test_medians_of_warm_starts() -> None:
    facts = {"needed": [3, None, 1], "gap_20": [0.5, 0.1, 0.3], "gap_40": [0.1, 0.1, 0.0]}
    found = figures({"warm": {"table.none": facts, "table.same": {"failure": "memory"}}})
    assert found["warm_start"] == {"table.none": {"needed": 3, "gap_20": 0.3, "gap_40": 0.1}}
