"""The commands that take a model apart: units and spaces."""

import json
from pathlib import Path
from typing import Any

import pytest

from autoprune._resources import names, resource
from autoprune.cli.model_options import random_inputs, read_args
from autoprune.errors import ConfigError

MODEL = """
import torch
from torch import nn
print("noise of the import")
def net(width=8, bias=True):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, bias=bias), nn.ReLU(), nn.Conv2d(width, 4, 3), nn.Flatten(),
        nn.Linear(16, 3),
    )
class Lists(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()
    def forward(self, images):
        assert type(images) is list and images[0].shape == (1, 6, 6)
        return self.net(torch.stack(images))
"""


@pytest.fixture
def run(run_autoprune: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    return run_autoprune


INPUT = ("--input", "2,1,6,6")


def test_units_of_a_file_as_json_alone(run: Any) -> None:
    code, out, err = run("units", "model.py:net", *INPUT, "--json", "--args", "width=6")
    assert code == 0, err
    found = json.loads(out)
    assert [(unit["name"], unit["atoms"]) for unit in found["units"]] == [("0", 6), ("2", 4)]
    assert found["units"][0]["readers"] == ["2.weight[1]"]
    assert "noise of the import" in err


def test_units_as_a_table(run: Any) -> None:
    code, out, _ = run("units", "model.py:net", *INPUT)
    assert code == 0
    assert "2 units." in out
    assert "is an output of the model" in out


def test_detectors_take_lists(run: Any) -> None:
    code, out, err = run("units", "model.py:Lists", *INPUT, "--list", "--json")
    assert code == 0, err
    assert len(json.loads(out)["units"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["units", "model.py:net", "--input", "2,1,6,x"], "--input must be a shape"),
        (["units", "model.py:net", "--input", "0,1,6,6"], "--input must be a shape"),
        (["units", "model.py:net", "--input", ""], "--input must be a shape"),
        (["units", "model.py:net", "--input", "2,1,6 6"], "--input must be a shape"),
        (["units", "model.py:net", *INPUT, "--args", "width"], "--args must be KEY=VALUE"),
        (["units", "model.py:nett", *INPUT], "Did you mean 'net'?"),
        (["units", "model.py:net", *INPUT, "--args", "depth=3"], "'model.py:net' raised: TypeErr"),
        (["units", "model.py:net", "--input", "2,3,6,6"], "forward raised RuntimeError"),
        (["spaces", "show", "resnt"], "Unknown search space 'resnt'. Did you mean 'resnet'?"),
        (
            ["spaces", "check", "vgg", "--model", "model.py:net", *INPUT],
            "The pattern 'features.0' of the search space matches no unit of this model that its "
            "methods fit. Known: 0",
        ),
    ],
)
def test_what_cannot_be_used_is_one_paragraph(run: Any, words: list[str], message: str) -> None:
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_every_shipped_space_is_listed(run: Any) -> None:
    code, out, _ = run("spaces", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == names("search_spaces", ".yaml")
    listed = json.loads(run("spaces", "list", "--json")[1])
    assert {"name", "description", "for"} == set(listed[0])
    assert "resnet50" in next(entry for entry in listed if entry["name"] == "resnet")["for"]


def test_a_space_is_shown_as_it_was_written_or_understood(run: Any) -> None:
    text = resource("search_spaces", "vit.yaml").read_text(encoding="utf-8")
    assert run("spaces", "show", "vit") == (0, text, "")
    assert json.loads(run("spaces", "show", "vit", "--json")[1])["units"][0]["match"] == "*:heads"


def test_a_space_of_ones_own_is_checked(run: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "methods: [channel.l1]\nsparsities: [0.5]\nprotect: ['2']\nunits: [{match: '0', step: 2}]"
    )
    words = ("spaces", "check", "file:mine.yaml", "--model", "model.py:net", *INPUT)
    code, out, err = run(*words, "--json")
    assert code == 0, err
    first, second = json.loads(out)["units"]
    assert (first["unit"], first["kept"], first["left_out"]) == ("0", [8, 4], None)
    assert second["left_out"] == "protected"
    assert "1 of 2 units may be pruned" in run(*words)[1]


def test_arguments_are_yaml_values() -> None:
    given = ["a=3", "b=null", "c=[1, 2]", "d=text", "e=x=y", "f=true", "g="]
    expected = {"a": 3, "b": None, "c": [1, 2], "d": "text", "e": "x=y", "f": True, "g": None}
    assert read_args(given) == expected
    for wrong in (["=3"], ["a b=3"], ["a=1", "a=2"], ["a=[1"]):
        with pytest.raises(ConfigError, match="--args"):
            read_args(wrong)


def test_inputs_are_random_but_always_the_same() -> None:
    first, second = random_inputs(["2,3,4,4", "2, 5"], as_list=False)
    assert first.shape == (2, 3, 4, 4)
    assert second.shape == (2, 5)
    assert first.equal(random_inputs(["2,3,4,4"], as_list=False)[0])
    (images,) = random_inputs(["2,3,4,4"], as_list=True)
    assert [image.shape for image in images] == [(3, 4, 4)] * 2
