"""The command line: a thin client that keeps standard output clean and errors short."""

import inspect
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from autoprune import __version__, api
from autoprune.artifacts.result import Result
from autoprune.cli.main import main
from autoprune.core.budget import Budget
from autoprune.core.pareto import Pareto
from autoprune.core.progress import Progress
from autoprune.errors import RunExistsError, VerificationError
from autoprune.tasks import base

NOISY = """
import os, subprocess, sys
print("python noise")
def net():
    os.write(1, b"descriptor noise\\n")
    subprocess.run([sys.executable, "-c", "print('child noise')"], check=True)
    from torch import nn
    return nn.Linear(2, 3)
def loaders():
    return "the loaders"
"""
SEARCH = "model: code.py:net\ndata: code.py:loaders\nbudget: {macs: 50%}\ntrials: 7\n"
MEASURED = {
    "quality_search": 0.9,
    "quality_test": 0.8,
    "macs": 4,
    "params": 4,
    "size_bytes": 4,
    "memory_bytes": 7,
    "sparse_macs": 4,
    "sparse_size_bytes": 4,
    "latency_ms": {},
    "parts": {},
}
RESULT = {
    "schema": 1,
    "task": "classification",
    "metric": "accuracy",
    "dense": MEASURED,
    "pruned": MEASURED | {"macs": 2},
    "policy": {"u": {"method": "channel.l1", "sparsity": 0.5}},
    "cuts": [{"unit": "u", "atoms": 2, "kept": 1, "method": "channel.l1", "macs_saved": 2}],
    "budget": {"macs": "50%"},
    "search": {
        **{"evaluations": 7, "sample_forwards": 1.0, "seconds": 1.0, "seed": 0},
        **{
            "sampler": "budgeted",
            "sensitivity_forwards": 0.0,
            "stopped": 1,
            "reused": 0,
            "warm_start": 0,
        },
        "rollback": {
            **{"examined": 0, "reverted": 0, "together": 0},
            **{"quality_regained": 0.0, "sample_forwards": 0.0},
        },
        "predictions": {
            **{"count": 3, "spearman": 0.5, "coverage": 1.0, "ranked": 2, "spared": 4},
            **{"audited": 1, "wrong": 0, "wrong_at_most": 0.95},
        },
    },
    "checks": {
        **{"sliced_equals_masked": True, "budget_met": True},
        **{"reload_max_diff": 0.0, "onnx_max_diff": 0.0, "onnx_sha256": None, "latency": {}},
    },
    "versions": {},
    "uncounted": [],
    "goal": None,
    "steps": [],
    "higher_is_better": True,
    "is_share": True,
    "undone": None,
}


@dataclass
class Found:
    folder: Path
    result: Result


class FakeSearch:
    """Stands in for `api.search`: takes exactly what that takes, and notes it."""

    def __init__(self) -> None:
        self.signature = inspect.signature(api.search)
        self.given: dict[str, Any] = {}
        self.error: BaseException | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Found:
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        self.given = bound.arguments
        print("noise of the search")
        self.given["progress"](Progress(stage="search", done=1, total=7))
        if self.error is not None:
            raise self.error
        return Found(Path(self.given["out"]), Result.model_validate(RESULT))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeSearch:
    fake = FakeSearch()
    monkeypatch.setattr(api, "search", fake)
    monkeypatch.setattr(base, "make_task", lambda make, name, data, settings: (name, data))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.py").write_text(NOISY)
    (tmp_path / "search.yaml").write_text(SEARCH)
    return fake


@pytest.fixture
def run(run_autoprune: Any) -> Any:
    return run_autoprune


def test_the_search_gets_what_the_file_says(fake: FakeSearch, run: Any, tmp_path: Path) -> None:
    code, out, err = run("search", "search.yaml")
    given = fake.given
    assert code == 0, err
    assert isinstance(given["model"], nn.Linear)
    assert given["task"] == ("classification", "the loaders")
    assert given["budget"] == Budget.parse("macs=50%")
    assert (given["trials"], given["timeout"], given["seed"]) == (7, None, 0)
    assert (given["if_exists"], given["out"]) == ("fail", Path("runs/autoprune"))
    assert given["constructor"].file == tmp_path / "code.py"
    assert "50.0% of dense" in out
    assert "Result in runs/autoprune" in out
    assert "scoring policies 1/7" in err


def test_options_win_over_the_file(fake: FakeSearch, run: Any, tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text(SEARCH + "space: file:./mine.yaml\nseed: 5\n")
    (tmp_path / "mine.yaml").write_text("methods: [channel.l1]\nsparsities: [0.5]\n")
    words = ["--budget", "params=30%", "--budget", "size=1MB", "--trials", "3", "--timeout", "2m"]
    more = ["--seed", "0", "--out", "there", "--if-exists", "resume"]
    more += ["--warm-start", "one", "--warm-start", "two"]
    assert run("search", "search.yaml", *words, *more)[0] == 0
    given = fake.given
    assert given["budget"] == Budget.parse("params=30%,size=1MB")
    assert (given["trials"], given["timeout"], given["seed"]) == (3, 120, 0)
    assert (given["if_exists"], given["out"]) == ("resume", Path("there"))
    assert given["space"] == f"file:{tmp_path / 'mine.yaml'}"
    assert list(given["warm_start"]) == [Path("one"), Path("two")]


def test_the_shared_database_of_the_file_is_beside_it_and_an_option_wins(
    fake: FakeSearch, run: Any, tmp_path: Path
) -> None:
    assert run("search", "search.yaml")[0] == 0
    assert fake.given["database"] is None
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "code.py").write_text(NOISY)
    file = tmp_path / "deep" / "search.yaml"
    for written, expected in {
        "kept/shared.db": str(tmp_path / "deep" / "kept" / "shared.db"),
        "postgresql://one:two@host/three": "postgresql://one:two@host/three",
    }.items():
        file.write_text(f"{SEARCH}database: {written}\n")
        assert run("search", "deep/search.yaml")[0] == 0
        assert fake.given["database"] == expected
    assert run("search", "deep/search.yaml", "--database", "mine.db")[0] == 0
    assert fake.given["database"] == str(tmp_path / "mine.db")
    assert run("search", "deep/search.yaml", "--database", "sqlite:///x.db")[0] == 0
    assert fake.given["database"] == "sqlite:///x.db"


def test_a_front_is_asked_for_by_the_file_or_an_option(
    fake: FakeSearch, run: Any, tmp_path: Path
) -> None:
    assert run("search", "search.yaml", "--pareto", "macs=25%..75%", "--points", "3")[0] == 0
    assert fake.given["pareto"] == Pareto.parse("macs=25%..75%")
    assert (fake.given["points"], fake.given["budget"]) == (3, Budget.parse("macs=50%"))
    (tmp_path / "search.yaml").write_text(SEARCH.replace("budget: {macs: 50%}", "pareto: params"))
    assert run("search", "search.yaml")[0] == 0
    assert (fake.given["pareto"], fake.given["budget"]) == (Pareto("params"), None)
    assert fake.given["points"] == 5


def test_a_drop_is_asked_for_by_the_file_or_an_option(
    fake: FakeSearch, run: Any, tmp_path: Path
) -> None:
    words = ["--max-drop", "1.5", "--minimise", "latency@onnxruntime/threads=1"]
    assert run("search", "search.yaml", *words)[0] == 0
    assert (fake.given["max_drop"], fake.given["minimise"]) == (1.5, words[-1])
    assert fake.given["budget"] == Budget.parse("macs=50%")
    (tmp_path / "search.yaml").write_text(SEARCH.replace("budget: {macs: 50%}", "max_drop: 0"))
    assert run("search", "search.yaml")[0] == 0
    given = fake.given
    assert (given["max_drop"], given["minimise"], given["budget"]) == (0, None, None)


def test_json_is_the_only_thing_on_standard_output(fake: FakeSearch, run: Any) -> None:
    code, out, err = run("search", "search.yaml", "--json")
    assert code == 0
    assert json.loads(out) == RESULT | {"folder": str(Path("runs/autoprune"))}
    for noise in ("python noise", "descriptor noise", "child noise", "noise of the search"):
        assert noise in err


def test_quiet_prints_the_folder_alone(fake: FakeSearch, run: Any) -> None:
    _, out, err = run("search", "search.yaml", "--quiet")
    assert out == "runs/autoprune\n"
    assert "scoring policies" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no.yaml"], "autoprune: Cannot read no.yaml: No such file"),
        (["search.yaml", "--budget", "mac=3"], "Unknown cost 'mac'"),
        (["search.yaml", "--budget", "3"], "COST=LIMIT"),
        (["search.yaml", "--timeout", "soon"], "timeout must be above 0"),
        (["search.yaml", "--trials", "0"], "'--trials'"),
        (["search.yaml", "--if-exists", "ask"], "'--if-exists'"),
        (["search.yaml", "--what"], "--what"),
        (["search.yaml", "--pareto", "mac"], "Unknown cost 'mac' in the budget. Did you mean 'ma"),
        (["search.yaml", "--pareto", "macs=50%"], "a cost and a range LOW..HIGH"),
        (["search.yaml", "--pareto", "macs", "--points", "1"], "'--points'"),
        (["search.yaml", "--points", "3"], "--points is about a front. Give --pareto as well"),
        (["search.yaml", "--max-drop", "-1"], "max_drop must be a number of at least 0. Got -1.0"),
        (["search.yaml", "--max-drop", "nan"], "max_drop must be a number of at least 0. Got nan"),
        (["search.yaml", "--max-drop", "inf"], "max_drop must be finite: a drop of quality"),
        (["search.yaml", "--max-drop", "1", "--pareto", "macs"], "Give one of them"),
        (["search.yaml", "--minimise", "macs"], "Give --max-drop (key 'max_drop') as well"),
        (["search.yaml", "--max-drop", "1", "--minimise", "mac"], "Did you mean 'macs'"),
        ([], "Missing argument 'FILE'"),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_bad_input_is_told_on_standard_error(
    fake: FakeSearch, run: Any, words: list[str], message: str, form: list[str]
) -> None:
    code, out, err = run("search", *words, *form)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not fake.given


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials", "trails", "search.yaml: unknown key 'trails'. Did you mean 'trials'?"),
        ("code.py:net", "code.py:nett", "'code.py' has no 'nett'. Did you mean 'net'?"),
        ("code.py:net", "broken.py:net", "broken.py, line 2)"),
        ("code.py:loaders", "broken.py:loaders", "broken.py, line 2)"),
        ("trials: 7", "checkpoint: code.py", "code.py is not a checkpoint"),
        ("budget: {macs: 50%}", "", "the key 'budget' is missing; or give 'pareto'"),
        ("trials: 7", "pareto: {macs: 20%, size: 20%}", "A front is about one cost"),
        ("trials: 7", "max_drop: a lot", "max_drop must be a number of at least 0. Got 'a lot'"),
        ("trials: 7", "max_drop: 1\nminimise: latency", "A limit on latency names what runs"),
        ("trials: 7", "max_drop: 1\npareto: macs", "Give one of them"),
        ("trials: 7", "pareto: 3", "'pareto' must be a cost or 'COST=LOW..HIGH'"),
    ],
)
def test_bad_files_are_told_in_one_paragraph(
    fake: FakeSearch, run: Any, tmp_path: Path, old: str, new: str, message: str
) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ny = undefined\n")
    (tmp_path / "search.yaml").write_text(SEARCH.replace(old, new))
    code, out, err = run("search", "search.yaml", "--json")
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("autoprune: ")
    assert message in last
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"), [(RunExistsError("a run is there"), 2), (VerificationError("differs"), 1)]
)
def test_errors_of_the_search_have_their_exit_codes(
    fake: FakeSearch, run: Any, error: Exception, code: int
) -> None:
    fake.error = error
    ended, out, err = run("search", "search.yaml", "--json")
    assert (ended, out) == (code, "")
    assert err.endswith(f"autoprune: {error}\n")


def test_an_unexpected_error_keeps_its_traceback(
    fake: FakeSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.error = RuntimeError("a bug")
    monkeypatch.setattr(sys, "argv", ["autoprune", "search", "search.yaml"])
    with pytest.raises(RuntimeError, match="a bug"):
        main()


@pytest.mark.parametrize("given", [[], ["--if-exists", "fail"], ["--if-exists=overwrite"]])
def test_ctrl_c_says_how_to_go_on(fake: FakeSearch, run: Any, given: list[str]) -> None:
    fake.error = KeyboardInterrupt()
    code, out, err = run("search", "search.yaml", *given, "--out", "a b", "--json")
    assert (code, out) == (130, "")
    command = "autoprune search search.yaml --out 'a b' --json --if-exists resume"
    assert err.splitlines()[-1] == (
        f"autoprune: stopped before an evaluation was finished. Go on with: {command}"
    )


def test_ctrl_c_counts_what_is_kept(
    fake: FakeSearch, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.error = KeyboardInterrupt()
    monkeypatch.setattr("autoprune.agent.run.kept_evaluations", lambda folder: 3)
    err = run("search", "search.yaml", "--out", "a b")[2]
    assert "stopped. 3 finished evaluations are kept in a b. Go on with: " in err


@pytest.mark.parametrize("given", ["6", "0.5"])
def test_a_deadline_has_a_unit(fake: FakeSearch, run: Any, given: str) -> None:
    code, _, err = run("search", "search.yaml", "--deadline", given)
    assert code == 2
    assert f"--deadline {given} has no unit. Write {given}s, {given}m or {given}h." in err


@pytest.mark.parametrize("words", [["--database", "{}"], ["--database={}"]])
def test_how_to_go_on_holds_no_password(fake: FakeSearch, run: Any, words: list[str]) -> None:
    fake.error = KeyboardInterrupt()
    url = "postgresql+psycopg://me:hidden@127.0.0.1:1/db?sslpassword=secret"
    err = run("search", "search.yaml", "--out", "a", *[word.format(url) for word in words])[2]
    assert "hidden" not in err
    assert "secret" not in err
    starred = "postgresql+psycopg://me:***@127.0.0.1:1/db?sslpassword=***"
    *_, last = err.splitlines()
    assert starred in last.partition("Go on with: ")[2]
    assert last.endswith(
        "(with the password in place of ***; or keep the URL in AUTOPRUNE_DATABASE)"
    )


def test_what_a_server_keeps_is_told_without_its_password(
    fake: FakeSearch, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.error = KeyboardInterrupt()
    monkeypatch.setenv("AUTOPRUNE_DATABASE", "postgresql+psycopg://me:hidden@127.0.0.1:1/db")
    err = run("search", "search.yaml", "--out", "a", "--name", "night")[2]
    assert "What was finished is kept in postgresql+psycopg://me:***@127.0.0.1:1/db" in err
    assert "under the name 'night', trained weights in a; the database cannot be reached" in err
    assert "hidden" not in err
    monkeypatch.setattr("autoprune.agent.run.kept_on_server", lambda name, database: 3)
    err = run("search", "search.yaml", "--out", "a", "--name", "night")[2]
    assert "stopped. 3 finished evaluations are kept in postgresql" in err


def test_version_and_help(run: Any) -> None:
    assert run("--version")[:2] == (0, f"{__version__}\n")
    assert "flops = 2 x macs" in run("--help")[1]
    code, out, _ = run("search", "--help")
    assert code == 0
    assert "flops = 2 x macs" in " ".join(out.split())


def test_help_is_fast_and_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['autoprune', 'search', '--help']\n"
        "from autoprune.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'optuna', 'ray', 'sklearn', 'sqlalchemy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], env=environment, timeout=30, check=False)
    assert ended.returncode == 0
    assert time.monotonic() - started < 10  # 0.1 s where nothing else runs
