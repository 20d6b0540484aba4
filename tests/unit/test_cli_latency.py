"""``autoprune latency``: what is measured by a runtime that only pretends, and what is refused."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import autoprune
from autoprune.agent.latency import search as latency
from autoprune.agent.preparing.pricing import priced
from autoprune.core.budget import Budget
from autoprune.core.progress import silent
from autoprune.core.target import Target
from autoprune.cost.latency.layers import Call
from autoprune.cost.latency.observations import Timing
from autoprune.cost.latency.runtimes import RUNTIMES
from autoprune.space.loader import load_space
from autoprune.storage.latencies import Latencies
from autoprune.storage.records import Latency
from autoprune.storage.shared import shared_database
from autoprune.surgery.discover import discover

CODE = """
import torch
from torch import nn
print("noise of the import")
def net():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, 3),
    )
def loaders():
    batch = [(torch.rand(4, 1, 6, 6), torch.tensor([0, 1, 2, 0]))]
    return {"train": batch, "search": batch, "test": batch}
"""
SEARCH = "model: code.py:net\ndata: code.py:loaders\nbudget: {macs: 50%}\n"
GRAPH_S = 1e-4


@dataclass
class Sleeper:
    """A session whose forward costs as much as the model has parameters; nothing is run."""

    params: int
    clock: list[float]

    def run(self) -> None:
        self.clock[0] += GRAPH_S + 1e-8 * self.params


class Pretends:
    """A runtime whose times are exact: no test waits for it, and none of them is flaky."""

    def __init__(self) -> None:
        self.clock = [0.0]
        self.timed = 0
        self.facts_given = {"pretends": "1"}
        self.spread = 0.0

    def check(self, target: Target) -> None:
        """Accept every target."""

    def facts(self, target: Target) -> Mapping[str, str]:
        return self.facts_given

    def time_call(self, call: Call, target: Target) -> Timing | None:
        self.timed += 1
        weights = call.shapes[1 if call.op == "aten.convolution" else -1]
        seconds = 1e-8 * float(torch.Size(weights).numel())
        return Timing.of([seconds * (1 + self.spread * (i % 2)) for i in range(12)])

    @contextmanager
    def open(self, model: nn.Module, inputs: Any, target: Target) -> Iterator[Sleeper]:
        yield Sleeper(sum(p.numel() for p in model.parameters() if p.dim() > 1), self.clock)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Pretends:
    """Return a runtime called ``pretends`` whose sessions are timed by its own clock."""
    from autoprune.cost.latency import graph
    from autoprune.cost.latency.timing import compare

    made = Pretends()
    monkeypatch.setitem(RUNTIMES._things, "pretends", made)
    monkeypatch.setattr(
        graph, "compare", lambda *pair, **options: compare(*pair, clock=lambda: made.clock[0])
    )
    return made


@pytest.fixture
def run(run_autoprune: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOPRUNE_DATABASE", str(tmp_path / "shared.db"))
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "search.yaml").write_text(SEARCH)
    return run_autoprune


BUILD = ("latency", "build", "search.yaml", "--target", "pretends/threads=1")


def test_tables_are_built_once_and_reused(run: Any, runtime: Pretends) -> None:
    code, out, err = run(*BUILD, "--json")
    assert code == 0, err
    (first,) = json.loads(out)
    assert (first["target"], first["layers"], first["timed"]) == ("pretends/threads=1", 3, 3)
    assert first["facts"]["pretends"] == "1"
    assert first["measured"] > 5
    assert first["reached"]
    assert first["error"] <= first["asked"] == 0.03
    assert first["models"] == 6
    assert first["fit_error"] < 0.001
    assert "noise of the import" in err
    assert "measuring latency on pretends/threads=1 6/6, 0:00 left" in err
    timed = runtime.timed
    (again,) = json.loads(run(*BUILD, "--json")[1])
    assert runtime.timed == timed
    assert again["measured"] == 0
    assert (again["fit_error"], again["steps"]) == (first["fit_error"], first["steps"])


def test_the_summary_says_what_was_reached(run: Any, runtime: Pretends) -> None:
    code, out, _ = run(*BUILD)
    assert code == 0
    for part in ("threads 1", "steps of channels", "3, 3 of them timed alone", "3.0% asked"):
        assert part in out
    assert "6 measured, which the tables are fitted to" in out
    assert "count by their multiply-adds" not in out
    _, out, _ = run(*BUILD)
    assert "0 measured now, " in out
    assert "reused that were measured before" in out
    assert "time ran out" not in out
    runtime.facts_given = {"pretends": "2"}
    code, out, err = run(*BUILD, "--limit", "0.000001s", "--error", "0.1%")
    assert code == 0, err
    assert "unknown: time ran out before every table was looked into (0.1% asked)" in out


def test_busy_points_are_told(run: Any, runtime: Pretends) -> None:
    runtime.spread = 1.0
    code, out, err = run(*BUILD)
    assert code == 0, err
    assert "while the device was busy" in out


def test_the_budget_names_the_targets(run: Any, runtime: Pretends, tmp_path: Path) -> None:
    limits = "budget: {latency: [80%@pretends/threads=1, 1s@pretends/threads=2]}\n"
    (tmp_path / "search.yaml").write_text(SEARCH.replace("budget: {macs: 50%}\n", limits))
    found = json.loads(run("latency", "build", "search.yaml", "--json")[1])
    assert [one["target"] for one in found] == ["pretends/threads=1", "pretends/threads=2"]
    twice = ("latency", "build", "search.yaml", *("--target", "pretends/threads=1") * 2)
    assert len(json.loads(run(*twice, "--json")[1])) == 1


def test_tables_are_checked_on_policies_that_the_fit_has_not_seen(
    run: Any, runtime: Pretends, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Mapping[str, int]] = []
    real = latency.TargetLatency.fit

    def fit(self: Any, policies: Any, progress: Any) -> None:
        fitted.extend(policies)
        real(self, policies, progress)

    monkeypatch.setattr(latency.TargetLatency, "fit", fit)
    words = ("latency", "check", *BUILD[2:], "--policies", "7")
    code, out, err = run(*words, "--json")
    assert code == 0, err
    (found,) = json.loads(out)
    assert len(found["policies"]) == 7
    assert found["mape"] < 0.001
    assert found["spearman"] > 0.95
    assert found["busy"] == 0
    for policy in found["policies"]:
        assert policy["measured_ms"] == pytest.approx(policy["ratio"] * found["dense_ms"])
        error = policy["predicted_ms"] / policy["measured_ms"] - 1
        assert policy["error"] == pytest.approx(error)
        whole = fitted[0] | policy["kept"]
        assert whole not in fitted
    kept = {json.dumps(policy["kept"], sort_keys=True) for policy in found["policies"]}
    assert len(kept) == 7
    again = json.loads(run(*words, "--json")[1])[0]
    assert [p["kept"] for p in again["policies"]] == [p["kept"] for p in found["policies"]]
    other = json.loads(run(*words, "--seed", "1", "--json")[1])[0]
    assert [p["kept"] for p in other["policies"]] != [p["kept"] for p in found["policies"]]
    _, out, _ = run(*words)
    assert "Mean absolute percentage error" in out
    assert "7 policies" in out
    assert "busy" not in out


def test_a_device_that_changed_its_pace_does_not_count(run: Any, runtime: Pretends) -> None:
    words = ("latency", "check", *BUILD[2:], "--policies", "5", "--json")
    (before,) = json.loads(run(*words)[1])

    def slower(self: Sleeper) -> None:
        self.clock[0] += 3 * (GRAPH_S + 1e-8 * self.params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sleeper, "run", slower)
        (after,) = json.loads(run(*words)[1])
    assert after["dense_ms"] == before["dense_ms"]
    assert after["mape"] == pytest.approx(before["mape"])


def test_a_space_without_another_policy_is_told(
    run: Any, runtime: Pretends, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "methods: [channel.l1]\nsparsities: [0.5]\nstep: 1\nprotect: ['2']\n"
    )
    (tmp_path / "search.yaml").write_text(SEARCH + "space: file:./mine.yaml\n")
    code, out, err = run("latency", "check", *BUILD[2:])
    assert (code, out) == (2, "")
    assert "search.yaml: model: The search space holds no policy that the tables were not" in err


def test_what_is_stored_is_listed_and_forgotten(
    run: Any, runtime: Pretends, tmp_path: Path
) -> None:
    place = ("--database", "kept/other.db")
    words = ("latency", "forget", "--target", "pretends/threads=1", *place)
    for asked in (("latency", "list", *place), words, ("latency", "list", "--json", *place)):
        code, out, err = run(*asked)
        assert code == 0
        assert out.split()[0] in ("Nothing", "0", "[]")
        assert f"there is no database {tmp_path / 'kept/other.db'}" in err
    assert not (tmp_path / "kept").exists(), "who only asks makes no file"
    assert run(*BUILD, *place)[0] == 0
    with shared_database(str(tmp_path / "kept/other.db")) as database:
        target = Target("onnxruntime")
        Latencies(database, {"cpu": "another"}, target).add("conv", (1,), Latency(1, 1, 1))
        Latencies(database, {"cpu": "newer"}, Target("of")).add("conv", (1,), Latency(1, 1, 1))
    listed = json.loads(run("latency", "list", *place, "--json")[1])
    assert [(one["target"], one["this_device"]) for one in listed] == [
        ("pretends/threads=1", True),
        ("onnxruntime", False),
        ("of", False),
    ]
    assert listed[1]["measurements"] == 1
    _, out, _ = run("latency", "list", *place)
    assert out.count("this device") == 1
    assert listed[0]["fingerprint"][:12] in out
    count = listed[0]["measurements"]
    code, out, _ = run(*words)
    assert (code, out.split()[0]) == (0, str(count))
    assert json.loads(run(*words, "--json")[1])["forgotten"] == 0
    assert len(json.loads(run("latency", "list", *place, "--json")[1])) == 2


def test_a_search_aims_below_its_limit_by_the_error_of_the_fit(
    runtime: Pretends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(self: Sleeper) -> None:
        self.clock[0] += GRAPH_S + 1e-8 * self.params + 2e-6 * (self.params % 7)

    monkeypatch.setattr(Sleeper, "run", odd)
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.Flatten())
    inputs = (torch.rand(2, 1, 6, 6),)
    plan = discover(model, inputs, np.random.default_rng(0))
    request: Any = SimpleNamespace(
        **{"model": model, "space": load_space("default"), "seed": 0, "progress": silent},
        **{"budget": Budget.parse("latency=70%@pretends/threads=1"), "pareto": None, "points": 5},
        tolerance=None,
        database=str(tmp_path / "a.db"),
    )
    first = priced(request, plan, inputs, {})
    fitted = first.latencies[0].model
    assert fitted is not None
    assert 0.001 < fitted.fit.error < 0.1
    assert first.projection.tightened == {
        "latency@pretends/threads=1": pytest.approx(1 - fitted.fit.error)
    }
    again = priced(request, plan, inputs, json.loads(json.dumps(first.saved())))
    assert again.projection.tightened == first.projection.tightened


@pytest.mark.parametrize("place", ["", "sqlite:///none.db"])
def test_ctrl_c_says_what_is_kept(
    run: Any, runtime: Pretends, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    given = ("--database", place) if place else ()
    with monkeypatch.context() as patch:
        patch.setattr("autoprune.cli.latency._given", stop)
        code, out, err = run(*BUILD, *given)
    assert (code, out) == (130, "")
    assert err == "autoprune: stopped. Nothing was measured yet.\n"
    monkeypatch.setattr(runtime, "open", stop)
    code, out, err = run(*BUILD, *given)
    assert (code, out) == (130, "")
    assert "What was measured is kept" in err.splitlines()[-1]
    assert runtime.timed


@pytest.mark.parametrize("function", ["build_latency", "check_latency"])
def test_a_single_tensor_is_the_only_argument(
    runtime: Pretends, tmp_path: Path, function: str
) -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))
    call = getattr(autoprune, function)
    given = {"targets": "pretends/threads=1", "database": tmp_path / "a.db", "progress": silent}
    (found,) = call(model, torch.rand(4, 1, 6, 6), **given)
    assert found.target == "pretends/threads=1"


def test_more_threads_than_cores_are_refused_where_they_would_be_measured(
    run: Any, runtime: Pretends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoprune.cost.latency.runtimes.base.usable_cores", lambda: 2)
    many = "pretends/threads=64"
    code, _, err = run(*BUILD[:4], many)
    assert code == 2
    assert "'pretends/threads=64' asks for 64 threads, but this process may use 2 cores" in err
    code, _, err = run("search", "search.yaml", "--budget", f"latency=50%@{many}")
    assert (code, "may use 2 cores" in err) == (2, True)
    assert run("latency", "forget", "--target", many)[0] == 0, "what is stored may be deleted"
    assert runtime.timed == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*BUILD[:4], "onnxruntme"], "Unknown runtime 'onnxruntme'. Did you mean 'onnxruntime'?"),
        ([*BUILD[:4], "onnx"], "Unknown runtime 'onnx'. Did you mean 'onnxruntime'?"),
        ([*BUILD[:4], "pytorch/thread=1"], "Unknown option 'thread' in the target"),
        ([*BUILD[:4], ""], "A target begins with the name of a runtime"),
        ([*BUILD, "--error", "3"], "--error must be above 0 and below 1"),
        ([*BUILD, "--limit", "soon"], "--limit must be above 0: seconds, or a text like '90s'"),
        (["latency", "build", "search.yaml"], "search.yaml: the budget limits no latency"),
        (["latency", "build", "no.yaml", "--target", "pytorch"], "Cannot read no.yaml: No such"),
        (["latency", "build"], "Missing argument 'CONFIG'"),
        (["latency", "check", *BUILD[2:], "--policies", "0"], "--policies"),
        (["latency", "forget"], "Missing option '--target'"),
        (["latency", "forget", "--target", "onnxruntime/dtype=float16"], "Leave 'dtype' out"),
        ([*BUILD, "--database", "oracle://x"], "oracle"),
    ],
)
def test_what_cannot_be_used_is_told(
    run: Any, runtime: Pretends, words: list[str], message: str
) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert runtime.timed == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_told(run: Any) -> None:
    code, _, err = run(*BUILD[:4], "cuda")
    assert code == 2
    assert "The target 'cuda' needs an NVIDIA GPU" in err
    assert "noise of the import" not in err, "told before the model is built"


def test_a_runtime_that_is_not_installed_is_told(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoprune.cost.latency.runtimes import onnx_runtime

    monkeypatch.setattr(onnx_runtime, "find_spec", lambda name: None)
    code, _, err = run(*BUILD[:4], "onnxruntime")
    assert code == 2
    assert "Run 'pip install onnxruntime'" in err
