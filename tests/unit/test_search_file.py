"""Search files: what is read, and what a person is told about a wrong one."""

from pathlib import Path

import pytest
import torch

from autoprune.cli.search_settings import settings_of
from autoprune.core.budget import Budget
from autoprune.core.pareto import Pareto
from autoprune.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    InputError,
    ModelError,
)
from autoprune.execution.build import build_model, build_task, constructor_of, load_data
from autoprune.execution.config import SearchFile, load_search_file, parse_timeout
from autoprune.execution.runners import find_runner
from autoprune.space.loader import find_space

SMALL = "model: model.py:net\ndata: data.py:loaders\nbudget: {macs: 50%}\n"


def search_file(folder: Path, text: str = SMALL, **files: str) -> SearchFile:
    folder.mkdir(exist_ok=True)
    for name, code in files.items():
        (folder / f"{name}.py").write_text(code)
    (folder / "search.yaml").write_text(text)
    return load_search_file(folder / "search.yaml")


def test_a_short_file_has_the_documented_defaults(tmp_path: Path) -> None:
    file = search_file(tmp_path)
    assert file.budget == Budget.parse("macs=50%")
    assert (file.task.target, file.space, file.runner) == ("classification", "default", "local")
    assert (file.trials, file.timeout, file.seed) == (40, None, 0)
    assert (file.out, file.checkpoint) == (Path("runs/autoprune"), None)
    assert file.base == tmp_path


def test_every_key_is_read(tmp_path: Path) -> None:
    file = search_file(
        tmp_path,
        """
        model: {target: "model.py:net", args: {width: 8}}
        data: {target: "data.py:loaders", args: {batch: 32}}
        checkpoint: weights.pt
        task: classification
        budget: {flops: 2M, size: 1MB}
        space: "file:./mine.yaml"
        trials: 7
        timeout: 10m
        seed: 3
        out: somewhere
        recovery: {finalists: 2, learning_rate: 1e-3, distill_modules: [layer1]}
        recover: train.py:mine
        runner: local
        pareto: {flops: 1M..4M}
        points: 3
        max_drop: 1.5
        minimise: flops
        """,
    )
    assert (file.max_drop, file.minimise) == (1.5, "macs")
    assert (file.pareto, file.points) == (Pareto.parse("macs=500K..2M"), 3)
    assert file.model.args == {"width": 8}
    assert file.budget == Budget.parse("macs=1M,size=1MB")
    assert file.timeout == 600
    assert (file.recovery.finalists, file.recovery.learning_rate) == (2, 0.001)
    assert (file.recovery.distill_modules, file.recover) == (("layer1",), "train.py:mine")
    assert file.reference(file.space) == f"file:{tmp_path / 'mine.yaml'}"
    assert file.reference(file.runner) == "local"


def test_a_path_may_begin_with_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings = search_file(tmp_path, SMALL + "out: ~/runs\nrunner: file:~/r.yaml\n")
    assert settings.out == tmp_path / "home" / "runs"
    assert settings.reference(settings.runner) == f"file:{tmp_path / 'home' / 'r.yaml'}"
    given = settings_of(settings.path, {"out": Path("~/b"), "runner": "file:~/c.yaml"})
    assert (given.out, given.runner) == (tmp_path / "home/b", f"file:{tmp_path / 'home/c.yaml'}")
    for find in (find_runner, find_space):
        assert find("file:~/mine.yaml") == tmp_path / "home" / "mine.yaml"
    with pytest.raises(ConfigError, match="names the home folder of a user"):
        search_file(tmp_path, SMALL + "out: ~nobody-of-this-name/runs\n")


@pytest.mark.parametrize("task", ["nowhere.py:Task", "clasification"])
def test_an_error_about_the_task_names_its_key_once_and_is_no_cause_of_itself(
    tmp_path: Path, task: str
) -> None:
    file = search_file(tmp_path, f"{SMALL}task: {task}\n")
    with pytest.raises(ConfigError) as caught:
        build_task(file)
    assert str(caught.value).startswith(f"{file.path}: task: ")
    assert str(caught.value).count(str(file.path)) == 1
    assert caught.value.__cause__ is not caught.value


@pytest.mark.parametrize("given", ["runs/one", "[runs/one, runs/two]"])
def test_earlier_runs_are_one_or_several(tmp_path: Path, given: str) -> None:
    file = search_file(tmp_path, f"{SMALL}warm_start: {given}\n")
    assert file.warm_start == (Path("runs/one"), Path("runs/two"))[: 1 + given.count(",")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trails: 3", r"search\.yaml: unknown key 'trails'\. Did you mean 'trials'\?"),
        ("recovery: {finalist: 3}", r"unknown key 'finalist' in 'recovery'\. Did you mean 'final"),
        ("recovery: {finalists: few}", r"the key 'recovery\.finalists' is wrong: .*Got 'few'"),
        ("recovery: {finalists: 0}", r"recovery\.finalists must be .* at least 1\. Got 0"),
        ("recover: train", r"recover must be FILE\.py:NAME or MODULE:NAME.*Got 'train'"),
        ("recovery: {ema: 1}", r"recovery\.ema must be below 1"),
        ("recovery: {amp: fp16}", r"the key 'recovery\.amp' is wrong: .*'float16'.*Got 'fp16'"),
        ("recovery: 3", r"the key 'recovery' is wrong: .*Got 3"),
        ("trials: 0", r"the key 'trials' is wrong: .*equal to 1\. Got 0"),
        ("trials: true", r"the key 'trials' is wrong: .*Got True"),
        ("seed: -1", r"the key 'seed' is wrong: .*Got -1"),
        ("timeout: soon", r"timeout must be above 0: .*'10m' or '2h'\. Got 'soon'"),
        ("model: {target: m.py:n, arg: 1}", r"line 4, is not valid YAML: the key 'model' is ther"),
        ("space: [", r"search\.yaml, line 5, is not valid YAML"),
        ("database: 3", r"the key 'database' is wrong: .*string\. Got 3"),
        ("database: ''", r"the key 'database' is wrong"),
        ("warm_start: 3", r"the key 'warm_start' is wrong: .*Got 3"),
        ("checkpoint: 3", r"the key 'checkpoint' is wrong: .*string\. Got 3"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        search_file(tmp_path, SMALL + line + "\n")
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Got nothing"),
        ("- model\n", "Got a list"),
        (SMALL.replace("macs", "mac"), "Unknown cost 'mac' in the budget. Did you mean 'macs'"),
        (SMALL.replace("50%", "150%"), "at most 100%. Got '150%'"),
        (SMALL.replace("{macs: 50%}", "3"), "'budget' must map costs to limits.*Got 3"),
        (SMALL.replace("model.py:net", "model.py"), r"search\.yaml: model must be FILE\.py:NAME"),
        (SMALL.replace("data.py:loaders", "[1]"), r"'FILE\.py:NAME', .*Got \[1\]"),
        (
            SMALL.replace("model.py:net", "{target: m.py:n, arg: {}}"),
            "unknown key 'model.arg'. Did you mean 'args'",
        ),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search_file(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Cannot read .*no\.yaml: No such file"):
        load_search_file(tmp_path / "no.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text file"):
        load_search_file(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("given", "seconds"), [(90, 90), ("90", 90), ("1.5m", 90), ("2h", 7200), ("1 d", 86400)]
)
def test_timeouts(given: object, seconds: float) -> None:
    assert parse_timeout(given) == seconds


@pytest.mark.parametrize("given", [0, -1, "10 minutes", "", True, None])
def test_timeouts_that_are_refused(given: object) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        parse_timeout(given)


MODEL = """
from torch import nn
def net(width=2):
    return nn.Linear(width, 3)
def wrong():
    return 3
def raising():
    raise KeyError("no width")
"""
TRAIN = """
import torch
def checkpoint():
    from model import net
    path = __file__.replace("train.py", "weights.pt")
    torch.save({"state_dict": net().state_dict()}, path)
    return path
def nothing():
    pass
def raising():
    raise RuntimeError("no data")
"""


def test_the_model_is_built_with_its_checkpoint(tmp_path: Path) -> None:
    text = SMALL + "checkpoint: train.py:checkpoint\n"
    model = build_model(search_file(tmp_path, text, model=MODEL, train=TRAIN))
    saved = torch.load(tmp_path / "weights.pt", weights_only=True)["state_dict"]
    assert torch.equal(model.state_dict()["weight"], saved["weight"])
    again = build_model(search_file(tmp_path, SMALL + "checkpoint: weights.pt\n"))
    assert torch.equal(again.state_dict()["weight"], saved["weight"])


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            SMALL.replace(":net", ":wrong"),
            ModelError,
            r"must return a torch\.nn\.Module\. Got int",
        ),
        (
            SMALL.replace(":net", ":raising"),
            ModelError,
            r"search\.yaml: model: 'model\.py:raising' raised: KeyError: 'no width' \(.*line 8\)",
        ),
        (
            SMALL.replace("model.py:net", "{target: model.py:net, args: {depth: 1}}"),
            ModelError,
            "TypeError: .*unexpected keyword argument 'depth'",
        ),
        (SMALL + "checkpoint: no.pt\n", CheckpointError, "There is no checkpoint .*no.pt"),
        (SMALL + "checkpoint: train.py:nothing\n", CheckpointError, "must return the path"),
        (SMALL + "checkpoint: train.py:raising\n", CheckpointError, "RuntimeError: no data"),
        (SMALL + "checkpoint: train.py:no\n", CheckpointError, "has no 'no'"),
    ],
)
def test_a_model_that_cannot_be_built(
    tmp_path: Path, text: str, error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_model(search_file(tmp_path, text, model=MODEL, train=TRAIN))


def test_data_is_whatever_the_function_returns(tmp_path: Path) -> None:
    code = "def loaders(batch=1):\n    import model\n    return (batch, model.SIZE)\n"
    text = SMALL.replace("data.py:loaders", "{target: data.py:loaders, args: {batch: 4}}")
    assert load_data(search_file(tmp_path, text, data=code, model="SIZE = 5\n")) == (4, 5)


def test_data_that_raises_is_a_data_error(tmp_path: Path) -> None:
    file = search_file(tmp_path, data="def loaders():\n    return 1 / 0\n")
    with pytest.raises(DataError, match=r"'data\.py:loaders' raised: ZeroDivisionError.*line 2"):
        load_data(file)
    with pytest.raises(DataError, match=r"search\.yaml: data: there is no file 'data\.py'"):
        load_data(search_file(tmp_path / "empty"))


def test_the_constructor_records_the_file_relative_to_the_result(tmp_path: Path) -> None:
    constructor = constructor_of(search_file(tmp_path, model=MODEL))
    record = constructor.to_dict(tmp_path / "runs" / "one")
    assert record["target"] == "../../model.py:net"
    assert len(record["sha256"]) == 64
