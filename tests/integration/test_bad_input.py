"""Through the command line: bad input ends with 2, one paragraph, and nothing lost."""

import json
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.integration.conftest import finish

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(project: Path, run_autoprune: Run) -> Run:
    """Return what runs ``autoprune search`` in the project and gives code, stdout and stderr."""
    return partial(run_autoprune, "search", "search.yaml")


def edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    """Return what replaces ``old`` in a file of the project, which must be there."""

    def edit(project: Path) -> None:
        text = (project / file).read_text()
        assert old in text
        (project / file).write_text(text.replace(old, new))

    return edit


def add(file: str, text: str) -> Callable[[Path], None]:
    """Return what adds ``text`` to the end of a file of the project."""

    def add(project: Path) -> None:
        with (project / file).open("a") as handle:
            handle.write(text)

    return add


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("was_run"),))


def pickled(project: Path) -> None:
    (project / "weights.pt").write_bytes(pickle.dumps({"state_dict": Evil()}))
    add("search.yaml", "checkpoint: weights.pt\n")(project)


def of_another_model(project: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, project / "weights.pt")
    add("search.yaml", "checkpoint: weights.pt\n")(project)


def space(text: str) -> Callable[[Path], None]:
    """Return what makes the project use a search space with ``text`` in it."""

    def write(project: Path) -> None:
        base = {"methods: ": "[channel.l1]", "sparsities: ": "[0.25, 0.5]"}
        lines = [f"{key}{value}" for key, value in base.items() if not text.startswith(key)]
        (project / "space.yaml").write_text("\n".join([*lines, text]) + "\n")
        add("search.yaml", "space: file:./space.yaml\n")(project)

    return write


LOADERS = "def loaders():\n    import torch\n    good = list(split(1, 96))\n"


def loaders(returned: str) -> Callable[[Path], None]:
    return add("code.py", f"\n{LOADERS}    return {returned}\n")


def train(batches: str) -> Callable[[Path], None]:
    return loaders(f"dict(train={batches}, search=good, test=list(good))")


BUDGET = "{macs: 50%}"
CASES: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    # the search file
    "unknown key": (
        edit("search.yaml", "trials", "trails"),
        ["search.yaml", "unknown key 'trails'", "Did you mean 'trials'"],
    ),
    "unknown cost": (
        edit("search.yaml", BUDGET, "{mac: 50%}"),
        ["search.yaml", "budget", "Did you mean 'macs'"],
    ),
    "unknown unit of a limit": (
        edit("search.yaml", BUDGET, "{macs: 5MiB}"),
        ["search.yaml", "macs=5MiB", "Allowed: %, K, M"],
    ),
    "unknown recovery key": (
        edit("search.yaml", "score_steps", "score_step"),
        ["search.yaml", "recovery", "Did you mean 'score_steps'"],
    ),
    "no YAML": (edit("search.yaml", "budget: {", "budget: {{"), ["search.yaml, line"]),
    "unknown task": (
        add("search.yaml", "task: clasification\n"),
        ["'clasification'", "Did you mean 'classification'"],
    ),
    # the search space
    "unknown space key": (
        space("protekt: [stem]"),
        ["space.yaml", "protekt", "Did you mean 'protect'"],
    ),
    "unknown method": (
        space("methods: [channel.l3]"),
        ["Unknown method 'channel.l3'", "Known: bn_scale", "l2"],
    ),
    "unknown unit": (
        space("protect: [sten]"),
        ["'sten'", "matches no unit", "Did you mean 'stem'"],
    ),
    "everything protected": (space("protect: ['*']"), ["protects every unit", "Free some"]),
    # the budget
    "impossible budget": (
        edit("search.yaml", BUDGET, "{macs: 1%}"),
        ["budget macs=1% cannot be reached", "of dense)", "Set a higher limit"],
    ),
    "budget already met": (
        edit("search.yaml", BUDGET, "{macs: 1G}"),
        ["meets the budget macs=1000000000 already", "macs 64,824", "set a lower limit"],
    ),
    # the model
    "model file missing": (
        edit("search.yaml", "code.py:net", "cod.py:net"),
        ["search.yaml: model", "no file 'cod.py'"],
    ),
    "model name missing": (
        edit("search.yaml", "code.py:net", "code.py:nett"),
        ["search.yaml: model", "'code.py' has no 'nett'", "Did you mean 'net'"],
    ),
    "model file that does not import": (
        add("code.py", "\nimport no_such_module\n"),
        ["search.yaml: model: cannot import 'code.py'", "no_such_module", "code.py, line"],
    ),
    "model file that is no Python": (
        add("code.py", "\ndef (\n"),
        ["SyntaxError", "code.py, line"],
    ),
    "constructor that raises": (
        edit("code.py", "return Net(width)", "return Net(width / 0)"),
        ["search.yaml: model: 'code.py:net' raised: ZeroDivisionError", "code.py, line"],
    ),
    "constructor of something else": (
        edit("code.py", "return Net(width)", "return 'net'"),
        ["search.yaml: model", "must return a torch.nn.Module. Got str"],
    ),
    "NaN outputs": (
        edit("code.py", "return self.head(", "return float('nan') * self.head("),
        ["outputs hold NaN", "Check the checkpoint"],
    ),
    "outputs of the wrong shape": (
        edit("code.py", "return self.head(self.dropout(x.mean((2, 3))))", "return x"),
        ["must return a tensor [samples, classes]", "Got (16, 8, 6, 6)"],
    ),
    "forward that raises": (
        edit("code.py", "nn.Conv2d(1, width", "nn.Conv2d(3, width"),
        ["forward failed on the first train batch", "(16, 1, 6, 6)", "code.py, line", "Check"],
    ),
    "model in half precision": (
        edit("code.py", "return Net(width)", "return Net(width).half()"),
        ["weights are float16", "the inputs float32", ".float()", "recovery.amp"],
    ),
    # the checkpoint
    "pickle with code": (pickled, ["weights.pt", "only weights", "convert"]),
    "checkpoint of another model": (of_another_model, ["weights.pt", "does not fit the model"]),
    "checkpoint missing": (
        add("search.yaml", "checkpoint: weights.pt\n"),
        ["no checkpoint", "weights.pt", "key 'checkpoint'"],
    ),
    # the data
    "data function that raises": (
        loaders("1 / 0"),
        ["search.yaml: data: 'code.py:loaders' raised: ZeroDivisionError", "code.py, line"],
    ),
    "loaders of another form": (loaders("good"), ["mapping with the keys train", "Got list"]),
    "loaders without a split": (
        loaders("dict(train=good, val=good, test=list(good))"),
        ["lacks the split 'search'"],
    ),
    "loader that is empty": (train("[]"), ["train split is empty", "at least one batch"]),
    "loader of images only": (
        train("[x for x, _ in good]"),
        ["train loader must yield (images, classes)", "Got float32 [16, 1, 6, 6]"],
    ),
    "loader of one-hot classes": (
        train("[(x, torch.eye(3)[y]) for x, y in good]"),
        ["train loader must yield", "Got (float32 [16, 1, 6, 6], float32 [16, 3])"],
    ),
    "loader of too many classes": (
        train("[(x, y + 1) for x, y in good]"),
        ["In the train split: Targets must be classes 0 to 2", "Got 1 to 3"],
    ),
    "loader with a batch of another form at its end": (
        train("[good[0], None]"),
        ["train loader must yield", "Got NoneType"],
    ),
    "loader that raises": (
        train("split(1, 96).dataset.no_such_thing"),
        ["search.yaml: data: 'code.py:loaders' raised: AttributeError", "no_such_thing"],
    ),
    "loader that raises in the middle": (
        train("torch.utils.data.DataLoader([*zip(*good[0]), None], 16)"),
        ["train loader raised TypeError", "Iterate over it once by hand"],
    ),
    "one sample in a batch": (
        loaders(
            "dict(train=list(good), search=[(x[:1], y[:1]) for x, y in good], test=list(good))"
        ),
        ["search loader's first batch must hold at least 2 samples"],
    ),
}


@pytest.fixture(scope="module")
def earlier(user_folder: Path) -> Path:
    """Return the folder of a run that ended, with its result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(user_folder)
        finish(patch, "search", "search.yaml", "--quiet")
    return user_folder / "run"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def assert_told(ended: tuple[int, str, str], parts: list[str]) -> None:
    code, out, err = ended
    assert (code, out) == (2, ""), err
    assert "Traceback" not in err
    paragraph = err[err.index("autoprune: ") :]
    assert paragraph.count("\n") == 1, "more than one paragraph"
    for part in parts:
        assert part in paragraph


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_told_and_an_earlier_result_outlives_it(
    case: str, earlier: Path, project: Path, run: Run
) -> None:
    spoil, parts = CASES[case]
    spoil(project)
    before = content(project / "run")
    assert "result.json" in before
    assert_told(run("--if-exists", "overwrite", "--json"), parts)
    assert content(project / "run") == before
    assert not (project / "was_run").exists()


def test_an_existing_run_is_told(earlier: Path, project: Path, run: Run) -> None:
    before = content(project / "run")
    parts = ["run holds a run already", "--if-exists resume", "--if-exists overwrite", "--out"]
    assert_told(run(), parts)
    assert_told(
        run("--seed", "3", "--if-exists", "resume"), ["settings (seed: 0 -> 3)", "overwrite"]
    )
    assert content(project / "run") == before


def test_an_output_folder_that_cannot_be_written_is_told(project: Path, run: Run) -> None:
    (project / "taken").write_text("a file")
    for out in ("taken", "taken/inside"):
        assert_told(run("--out", out), [f"output folder {out} cannot be", "another with --out"])
    assert (project / "taken").read_text() == "a file"


def test_a_folder_of_somebody_else_is_told(project: Path, run: Run) -> None:
    (project / "home").mkdir()
    (project / "home" / "letter.txt").write_text("dear")
    assert_told(run("--out", "home"), ["home holds other files (letter.txt)", "new or empty"])


# --- good input beside it


def test_json_is_all_there_is_on_standard_output(project: Path, run: Run) -> None:
    head = "    def forward(self, x):\n"
    edit("code.py", head, f"{head}        shout()\n")(project)
    add("code.py", "\nimport os\nprint('module noise')\ndef shout():\n")(project)
    add("code.py", "    print('model noise')\n    os.write(1, b'raw noise')\n")(project)
    shutil.rmtree(project / "run", ignore_errors=True)
    code, out, err = run("--json", "--trials", "2")
    assert code == 0, err
    result = json.loads(out)
    assert result == json.loads((project / "run/result.json").read_text()) | {"folder": "run"}
    for text in ("module noise", "model noise", "raw noise"):
        assert text in err
        assert text not in out


def test_the_command_line_and_python_are_the_same_road(
    earlier: Path, project: Path, run: Run
) -> None:
    code, out, _ = run("--out", "again", "--json", "--budget", "macs=50%", "--seed", "0")
    assert code == 0
    found, before = json.loads(out), json.loads((earlier / "result.json").read_text())
    for content in (found, before):
        search = content["search"]
        search.pop("seconds")
        # The second one finds the sensitivity table paid for.
        search["sample_forwards"] -= search.pop("sensitivity_forwards")
        search["sample_forwards"] = round(search["sample_forwards"], 3)
    assert found == before | {"folder": "again"}


def test_resuming_a_finished_run_reports_it_again(earlier: Path, project: Path, run: Run) -> None:
    code, out, _ = run("--if-exists", "resume", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((earlier / "result.json").read_text()) | {"folder": "run"}
