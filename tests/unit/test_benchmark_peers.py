"""The comparison with other tools: what is ours of it, without the tools."""

import os
from math import isclose
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from autoprune.formats.onnx import export_onnx
from benchmarks.peers.__main__ import CODE, tasks
from benchmarks.peers.bisection import bisected
from benchmarks.peers.cells import cells
from benchmarks.peers.counting import Count, counting
from benchmarks.peers.figures import OTHERS, best, figures
from benchmarks.peers.limits import LIMITS, SEEDS
from benchmarks.peers.pictures import picture
from benchmarks.peers.planned import APART, KIND, name_of, planned, run_of
from benchmarks.peers.rivals import EVERYBODY, OURS, PARTS, RIVALS
from benchmarks.peers.subjects import QUICK, SUBJECTS
from benchmarks.peers.tabs import Tab
from benchmarks.peers.venvs import PACKAGES
from benchmarks.peers.written import MISSING, markdown, write
from benchmarks.provenance import CHECKOUT
from benchmarks.work import Results

DENSE = {"resnet20": {"quality": 0.924}}


def run(quality: float, **more: Any) -> dict[str, Any]:
    """Return the facts of a run that ended well."""
    facts = {"quality": quality, "share": 0.2491, "met": True, "forwards": 1000.0, "search_s": 9.0}
    return facts | more


def results(**cells: dict[int, dict[str, Any]]) -> Results:
    """Return results of resnet20 at 25%, by rival and seed."""
    done = {
        name_of("resnet20", "25%", rival, seed): facts
        for rival, by_seed in cells.items()
        for seed, facts in by_seed.items()
    }
    return {KIND: done, "dense": dict(DENSE)}


def test_bisection_finds_the_dearest_within_the_limit() -> None:
    strength, made = bisected(lambda s: s, lambda made: (1 - made) ** 2, 0.25, rounds=20)
    assert isclose(strength, 0.5, abs_tol=1e-5)
    assert (1 - made) ** 2 <= 0.25


def test_bisection_keeps_the_best_of_steps_that_overshoot() -> None:
    def staircase(strength: float) -> float:
        return 1 - 0.3 * int(strength / 0.3)  # 1.0, 0.7, 0.4, 0.1

    _, cost = bisected(staircase, lambda made: made, 0.5)
    assert cost == pytest.approx(0.4)


def test_bisection_tells_what_the_least_cost_where_nothing_fits() -> None:
    with pytest.raises(ValueError, match=r"within 0\.1: the least of 12 cost 0\.5"):
        bisected(lambda s: s, lambda _: 0.5, 0.1)


def test_a_backward_pass_counts_as_two_forwards() -> None:
    conv, head = nn.Conv2d(3, 8, 3, padding=1, groups=1), nn.Linear(8, 5)
    images = torch.zeros(2, 3, 4, 4)
    once = 2 * (8 * 16 * 3 * 9 + 5 * 8)
    with counting() as count:
        outputs = head(conv(images).mean((2, 3)))
        assert count.macs == once
        outputs.sum().backward()
        assert count.macs == 3 * once
        with torch.no_grad():
            head(conv(images).mean((2, 3)))
    conv(images)  # nobody counts any more
    assert count.macs == 4 * once


def test_what_is_counted_follows_the_weight_that_is_used() -> None:
    conv = nn.Conv2d(8, 8, 1)
    conv.weight = nn.Parameter(conv.weight[:, :4])  # tools that slice leave ``in_channels``
    with counting() as count, torch.no_grad():
        conv(torch.zeros(1, 4, 2, 2))
    assert count.macs == 4 * 8 * 4


def test_a_model_is_exported_with_a_free_batch_while_others_count(tmp_path: Path) -> None:
    conv = nn.Conv2d(3, 8, 1).eval()
    with counting() as count:
        export_onnx(conv, (torch.zeros(2, 3, 4, 4),), tmp_path / "model.onnx")
    assert count.macs == 0
    (given,) = onnx.load(tmp_path / "model.onnx").graph.input
    assert not given.type.tensor_type.shape.dim[0].dim_value


def test_a_table_that_two_processes_make_is_paid_for_once(tmp_path: Path) -> None:
    table = tmp_path / "table.pt"
    table.write_text("of nobody")

    def write(part: int) -> None:
        table.write_text(f"{part} parts")
        os.utime(table, ns=(part, part))  # clocks of file systems are coarse

    count = Count()
    first = Tab(table, count)
    assert not table.exists()  # nobody knows what it cost
    first.look()
    count.macs += 100
    write(1)
    first.look()
    count.macs += 50  # cut before this part was written
    again = Count()
    second = Tab(table, again)
    assert (table.read_text(), second.macs) == ("1 parts", 100)
    second.look()
    again.macs += 50
    write(2)
    second.look()
    assert Tab(table, Count()).macs == 150


def test_figures_compare_seeds_that_both_have_with_the_best_that_met_the_limit() -> None:
    found = figures(
        results(
            ours={0: run(0.92, forwards=500.0), 1: run(0.90)},
            fastnas={0: run(0.91)},
            tp_global_l1={0: run(0.93, met=False), 1: run(0.93)},
            tpe={0: {"failure": "RivalError: no", "quality": 0.99}},
        )
    )
    assert found["resnet20.25%.ours"] == pytest.approx(0.91)
    assert found["resnet20.25%.best_rival_name"] == "fastnas"
    assert found["resnet20.25%.gain_points"] == pytest.approx(1.0)
    assert found["resnet20.25%.seeds"] == 2
    assert found["cost_ratio_fastnas"] == pytest.approx(0.75)
    assert (found["resnet20.50%.ours"], found["resnet20.50%.best_rival"]) == (None, None)
    assert found["latency_budget_met_ours"] is None


def test_who_misses_the_limit_gains_nothing() -> None:
    found = figures(results(ours={0: run(0.92, met=False)}, fastnas={0: run(0.91)}))
    assert found["resnet20.25%.gain_points"] is None
    assert found["resnet20.25%.best_rival"] == pytest.approx(0.91)


def test_a_limit_on_latency_that_nobody_could_tell_counts_for_nobody() -> None:
    def facts(met: bool | None) -> dict[str, Any]:
        return run(0.9, met=met, latency_share=0.5)

    tools = {"fastnas": None, "tp_global_l1": True, "tp_uniform_l1": False}
    done = {
        name_of("resnet20", "latency50%", rival, 0): facts(met)
        for rival, met in {OURS: True, **tools, "tpe": False}.items()
    }
    found = figures({KIND: done})
    assert found["latency_budget_met_ours"] == 1.0
    assert found["latency_budget_met_rivals"] == pytest.approx(0.5)


def test_the_table_marks_what_is_missing_missed_and_failed() -> None:
    table = cells(
        results(
            ours={0: run(0.92), 1: run(0.90)},
            fastnas={0: run(0.91, met=False, share=0.2612)},
            fasterai={0: {"failure": "RivalError: `x` is not known"}},
        )
    )
    text = markdown(table, DENSE)
    assert "## resnet20, 25% of the MACs (dense: 92.40)" in text
    assert "| autoprune | **91.00 ± 1.41** | 24.9% | – | 1 | 9 | 2 of 3 |" in text  # noqa: RUF001
    assert "| ModelOpt FastNAS | 91.00 | 26.1% ! |" in text
    assert "| FasterAI | failed |" in text
    assert "FasterAI failed: `RivalError: x is not known`" in text
    assert f"| Optuna TPE |{5 * f' {MISSING} |'} 0 of 3 |" in text
    assert "mobilenet_v2" not in text  # nothing is known of it
    assert f"4 of {len(list(planned()))} runs are done" in text


def test_the_files_hold_every_cell_and_a_picture_of_what_is_known(tmp_path: Path) -> None:
    found = results(ours={0: run(0.92)}, tpe={0: run(0.9), 1: run(0.91)})
    write(tmp_path / "peers.json", found, {"figures": {}})
    assert {one.name for one in tmp_path.iterdir()} == {"peers.json", "peers.md", "peers"}
    made = {one.name for one in (tmp_path / "peers").iterdir()}
    assert made == {"resnet20.html", "plotly.min.js"}
    drawn = picture(cells(found), "resnet20")
    whiskers = {one.name: one.error_y.array[0] for one in drawn.data}
    assert whiskers["autoprune"] == 0
    assert whiskers["Optuna TPE"] == pytest.approx(0.5)


def test_who_is_best_among_nobody_is_nobody() -> None:
    assert best(cells({}), "scenes", "50%", OTHERS) is None


def test_every_rival_runs_under_every_limit_and_what_tells_most_comes_first() -> None:
    found = list(tasks(quick=False))
    names = [task.name for task in found if task.kind == KIND]
    parts = {name for name in names if run_of(name)[2] in PARTS}
    assert parts == {name_of(*APART, part, seed) for part in PARTS for seed in SEEDS}
    others = [name for name in names if name not in parts]
    models = [one for one in SUBJECTS if one != QUICK]
    assert len(set(others)) == len(others)
    assert len(others) == len(models) * len(LIMITS) * len(RIVALS) * len(SEEDS)
    assert {run_of(name)[0] for name in others} == {*models}
    assert found[0].kind == "dense"
    first = [name_of("resnet20", "25%", one, 0) for one in RIVALS]
    assert names[: len(first)] == first
    assert all((CHECKOUT / place).exists() for place in CODE)


def test_a_quick_run_is_part_of_the_table_and_no_other_one() -> None:
    (dense, *runs) = tasks(quick=True)
    assert dense.name == QUICK
    done: Results = {KIND: {task.name: run(0.9) for task in runs}}
    assert figures(done)[f"{QUICK}.25%.ours"] == pytest.approx(0.9)
    assert f"## {QUICK}, 25% of the MACs" in markdown(cells(done), {})
    assert not any(place[0] == QUICK for place in cells({}))


def test_what_a_part_brings_is_told_over_the_seeds_that_both_have() -> None:
    done = results(ours={0: run(0.92), 1: run(0.99)}, no_rollback={0: run(0.91)})
    found = figures(done)
    assert found["points_without"] == {"resnet20.25%": {"no_rollback": pytest.approx(1.0)}}
    assert found["resnet20.25%.best_rival_name"] is None
    assert "| autoprune, no rollback | 91.00 |" in markdown(cells(done), DENSE)


def test_what_ours_has_learned_from_the_dense_model_is_a_row_of_its_own() -> None:
    found = results(ours={0: run(0.92, distilled={"quality": 0.925, "loss": 0.2}), 1: run(0.91)})
    told = figures(found)
    assert told["points_by_distillation"] == {"resnet20.25%": pytest.approx(0.5)}
    assert told["resnet20.25%.ours"] == pytest.approx(0.915)
    text = markdown(cells(found), DENSE)
    assert "| autoprune, distilled | 92.50 | 24.9% |" in text
    assert "**91.50 ± 0.71**" in text, "who is best is told of the same training for all"
    assert f"2 of {len(list(planned()))} runs are done" in text
    failed = results(ours={0: run(0.92, distilled={"failure": "CandidateError: nan"})})
    assert figures(failed)["resnet20.25%.ours"] == pytest.approx(0.92)
    assert "| autoprune, distilled | failed |" in markdown(cells(failed), DENSE)


def test_every_adapter_of_our_own_is_there() -> None:
    for rival in EVERYBODY.values():
        assert rival.tool is not None or callable(rival.load())


def test_every_tool_has_packages_of_one_release() -> None:
    tools = {rival.tool for rival in RIVALS.values() if rival.tool is not None}
    assert tools == set(PACKAGES)
    assert all("==" in package for packages in PACKAGES.values() for package in packages)


def test_heads_of_small_models_are_the_layers_that_give_the_classes() -> None:
    from benchmarks.networks import NETWORKS

    for name, build in NETWORKS.items():
        (head,) = SUBJECTS[name].heads
        layer = build().get_submodule(head)
        assert isinstance(layer, nn.Linear)
        assert layer.out_features == 10
