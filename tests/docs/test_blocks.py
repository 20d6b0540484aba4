"""Every block of code of README and docs runs in a small project, or is at least understood."""

import ast
import io
import random
import re
import tomllib
from collections.abc import Callable
from contextlib import redirect_stdout
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
import yaml
from PIL import Image
from torch import nn
from torchvision.models import resnet18

import autoprune
from autoprune.execution.config import load_search_file
from autoprune.execution.runners.load import read_runner
from docs.site.blocks import Block, blocks
from docs.site.commands import check, commands

CHECKOUT = Path(__file__).parents[2]
GENERATED = {"cli.md", "search_file.md"}
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
READ = {page: list(blocks(page)) for page in PAGES if page.name not in GENERATED}
WITH_BLOCKS = [page for page, found in READ.items() if found]
GROUPS = {"autoprune.methods", "autoprune.samplers", "autoprune.tasks"}
SEARCH = "autoprune search search.yaml --out runs/"
BEFORE = {  # runs that are there
    "report.md": ["mine", "a", "b"],
    "results.md": ["digits"],
    "rollback.md": ["mine"],
    "workers.md": ["night"],
}
DROP = 40.0  # points: trained so briefly, nothing is as good as before

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def reader(project: Path, run_autoprune: Say, little: dict[str, Any]) -> "Reader":
    return Reader(project, run_autoprune, little)


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: page.name)
def test_blocks_run(page: Path, reader: "Reader", monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("search", "profile"):
        monkeypatch.setattr(autoprune, name, reader.asking_for_little(name), raising=False)
    monkeypatch.setattr(optuna.Study, "optimize", _thrice(optuna.Study.optimize))
    for run in BEFORE.get(page.name, []):
        reader.run_line(SEARCH + run)
    if page.name == "own_model.md":
        _own_images(reader.folder)
        reader.knows_nothing()
    for block in READ[page]:
        reader.read(block)
    assert reader.read_blocks == len(READ[page])


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: page.name)
def test_what_is_not_run_is_there_and_has_a_reason(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    marks = [(block, *mark) for block in READ[page] for mark in block.marks]
    assert len(marks) == text.count("<!-- not run"), "a mark stands right above its block"
    for block, word, reason in marks:
        assert word in block.text, f"{block.place}: no line holds {word!r}"
        assert len(reason.split()) > 2, f"{block.place}: why is it not run?"


class Reader:
    """Does what the blocks of one page say, one after the other, in a project."""

    def __init__(self, folder: Path, say: Say, little: dict[str, Any]) -> None:
        self.folder, self.say, self.little, self.read_blocks = folder, say, little, 0
        self._names: dict[str, Any] = {}

    def read(self, block: Block) -> None:
        """Run a block, by its language."""
        readers = {"sh": self._shell, "python": self._python, "yaml": self._yaml}
        others = {"toml": _entry_points, "text": lambda block: None}
        reader = (readers | others).get(block.language)
        if reader is not None:
            reader(block)
        else:
            assert block.left_out(), f"{block.place}: who reads {block.language!r}? Mark it."
        self.read_blocks += 1

    def knows_nothing(self) -> None:
        """Let blocks of Python have what they import and nothing else."""
        self._names = {"__name__": "page"}

    def run_line(self, line: str, place: str = "") -> None:
        """Run a line of a shell."""
        for words, target in commands(line):
            if words[0] in {"export", "pip"}:
                check(line)
                continue
            assert words[0] == "autoprune", f"{place}: mark what cannot run: {line}"
            code, out, err = self.say(*self._for_a_test(words[1:]))
            assert code == 0, f"{place}: {line}\n{out[-2000:]}\n{err[-2000:]}"
            if target:
                (self.folder / target).write_text(out)

    def asking_for_little(self, name: str) -> Callable[..., Any]:
        """Return a function of autoprune that does little, whatever it is asked for."""
        function = getattr(autoprune, name)

        def asked(*args: Any, **options: Any) -> Any:
            if name == "search":
                options["trials"] = self.little["trials"]
                options["recovery"] = autoprune.Recovery(**self.little["recovery"])
                options |= {"onnx": False, "if_exists": "overwrite"}
                if "max_drop" in options:
                    options["max_drop"] = DROP
            return function(*args, **options)

        return asked

    def _shell(self, block: Block) -> None:
        for line in block.text.replace("\\\n", " ").splitlines():
            if block.left_out(line):
                check(line)
            else:
                self.run_line(line, block.place)

    def _python(self, block: Block) -> None:
        code = compile(block.text, block.place, "exec")
        if block.title:
            (self.folder / block.title).write_text(block.text)
        elif block.left_out():
            imports = [one for one in ast.parse(block.text).body if _imports(one)]
            exec(compile(ast.Module(imports, []), block.place, "exec"), {})
        else:
            self._names = self._names or _names()
            with redirect_stdout(io.StringIO()):  # what it prints is nobody's
                exec(code, self._names)
            _run_contracts(self._names)

    def _yaml(self, block: Block) -> None:
        said = yaml.safe_load(block.text)
        file = self.folder / (block.title or "said.yaml")
        if "kind" in said:
            file.write_text(block.text)
            assert read_runner(file).kind == said["kind"]
            return
        given = yaml.safe_load((self.folder / "search.yaml").read_text())
        file.write_text(yaml.safe_dump(said if "model" in said else given | said))
        loaded = load_search_file(file)
        assert said.keys() <= type(loaded).model_fields.keys()
        if block.title:
            file.write_text(yaml.safe_dump(said | self.little | {"sensitivity": False}))

    def _for_a_test(self, words: list[str]) -> list[str]:
        """Return a command with few trials; what lies in the usual folder may go."""
        if words[0] != "search":
            return words
        little = {"--trials": str(self.little["trials"]), "--max-drop": str(DROP)}
        before = ["", *words]
        few = [little.get(option, word) for option, word in zip(before, words, strict=False)]
        fresh = "--out" not in few and "--if-exists" not in few
        return [*few, "--if-exists", "overwrite"] if fresh else few


def _entry_points(block: Block) -> None:
    for group, named in tomllib.loads(block.text)["project"]["entry-points"].items():
        assert group in GROUPS
        assert all(re.fullmatch(r"[\w.]+:\w+", target) for target in named.values())


def _imports(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _names() -> dict[str, Any]:
    """Return what the pages call by its name: the model, the data, the task."""
    from data import loaders
    from model import build

    splits: dict[str, Any] = loaders()
    task = autoprune.Classification(splits)
    mine = {"your_loss_after_training": lambda model, rate: random.random()}
    own = {"build": build, "model": build(), "loaders": splits, "task": task}
    return (
        splits | own | mine | {"autoprune": autoprune, "torch": torch, "nn": nn, "optuna": optuna}
    )


def _run_contracts(names: dict[str, Any]) -> None:
    """Run the tests of the contracts that a block promises to keep."""
    for name, kind in names.items():
        if name.startswith("Test") and isinstance(kind, type):
            tests = [test for test in dir(kind) if test.startswith("test_")]
            assert tests
            for test in tests:
                getattr(kind(), test)()


def _thrice(optimize: Callable[..., None]) -> Callable[..., None]:
    return lambda self, objective, n_trials: optimize(self, objective, n_trials=min(3, n_trials))


def _own_images(folder: Path) -> None:
    """Write images of two parts, by class, and weights of an untrained network."""
    rng = np.random.default_rng(0)
    for part, name in product(("train", "val"), ("cats", "dogs", "owls")):
        images = folder / "images" / part / name
        images.mkdir(parents=True)
        for at in range(12):
            pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(images / f"{at}.png")
    torch.manual_seed(0)
    model = resnet18()
    model.fc = nn.Linear(512, 3)
    torch.save(model.state_dict(), folder / "weights.pt")
