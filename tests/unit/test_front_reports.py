"""Reports of a front: every point, every limit without one, and names as they are."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from autoprune.artifacts.front import Front, FrontPoint, LeftOut
from autoprune.artifacts.result import Measured, SearchCost
from autoprune.reporting.front import front_markdown, print_front
from autoprune.reporting.tables import PlainConsole

TARGET = "onnxruntime/threads=1"
COST = f"latency@{TARGET}"


def measured(quality: float, ms: float, **more: Any) -> Measured:
    counts = dict.fromkeys(("macs", "params", "memory_bytes", "sparse_macs"), 1000)
    sizes = {"size_bytes": 1000, "sparse_size_bytes": 1000}
    return Measured(
        quality_search=quality,
        quality_test=quality - 0.01,
        latency_ms={TARGET: ms},
        parts={},
        **counts,
        **sizes,
    )


@pytest.fixture
def front() -> Front:
    return Front(
        task="classification",
        metric="top-1 *",
        cost=COST,
        budget={},
        dense=measured(0.99, 8.0),
        points=[
            FrontPoint(
                folder="point-1", limit="latency=20%", share=0.195, pruned=measured(0.9, 1.56)
            ),
            FrontPoint(
                folder="point-3", limit="latency=60%", share=0.6, pruned=measured(0.95, 4.8)
            ),
        ],
        left_out=[LeftOut(limit="latency=40%", reason="its best model is no better")],
        search=SearchCost(
            evaluations=9, sample_forwards=100.0, seconds=1.0, seed=0, sampler="tpe"
        ),
        versions={"torch": "2"},
    )


def printed(front: Front) -> str:
    stream = StringIO()
    print_front(front, Path("runs/mine"), PlainConsole(stream, 200))
    return stream.getvalue()


@pytest.mark.parametrize("form", [printed, front_markdown])
def test_every_form_shows_the_points_with_what_was_measured(form: Any, front: Front) -> None:
    text = form(front)
    for figure in ("19.5%", "60.0%", "1.56 ms", "4.8 ms", "90.00%", "89.00%", "95.00%", "99.00%"):
        assert figure in text, figure
    assert "point-3" in text.replace("\\", "")


@pytest.mark.parametrize("form", [printed, front_markdown])
def test_limits_without_a_point_are_said(form: Any, front: Front) -> None:
    text = form(front)
    assert "latency=40%" in text
    assert "its best model is no better" in text
    assert "9 evaluations" in text


def test_markdown_shows_names_as_they_are_in_a_whole_table(front: Front) -> None:
    text = front_markdown(front)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {7}
    assert len(table) == 5, "names, line, two points and the dense model"
