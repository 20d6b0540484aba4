"""Import strings: what is found, what stays apart, and what a user is told."""

import copy
import pickle
import re
import sys
import threading
import tomllib
from pathlib import Path

import pytest

from autoprune.core.imports import is_import, load_object, parse_import
from autoprune.core.user_code import EXTRAS, blame, user_code
from autoprune.errors import ConfigError, DataError, ModelError


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_a_file_target_is_relative_to_the_base(tmp_path: Path) -> None:
    write(tmp_path / "deep", model="class Net:\n    size = 3\n")
    assert load_object("deep/model.py:Net", base=tmp_path)().size == 3
    assert load_object("./deep/model.py:Net.size", base=tmp_path) == 3
    assert load_object("model.py:Net.size", base=tmp_path / "deep") == 3


def test_a_module_target_comes_from_the_installed_packages(tmp_path: Path) -> None:
    assert (
        load_object("collections:OrderedDict", base=tmp_path)
        is __import__("collections").OrderedDict
    )


def test_the_same_file_is_the_same_module_and_pickles(tmp_path: Path) -> None:
    write(tmp_path, model="class Net:\n    pass\n")
    net = load_object("model.py:Net", base=tmp_path)
    assert load_object("../" + tmp_path.name + "/model.py:Net", base=tmp_path) is net
    assert isinstance(pickle.loads(pickle.dumps(net())), net)
    assert isinstance(copy.deepcopy(net()), net)


def test_siblings_of_two_folders_do_not_mix(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train = "from model import NAME, Net\nimport model\n"
        write(tmp_path / name, model=f"NAME = {name!r}\nclass Net:\n    pass\n", train=train)
    before, path = set(sys.modules), sys.path[:]
    for name in ("a", "b"):
        assert load_object("train.py:NAME", base=tmp_path / name) == name
        net = load_object("train.py:Net", base=tmp_path / name)
        assert net is load_object("model.py:Net", base=tmp_path / name)
        assert isinstance(pickle.loads(pickle.dumps(net())), net)
    assert not {name for name in set(sys.modules) - before if "autoprune_user" not in name}
    assert sys.path == path


def test_a_sibling_wins_over_a_loaded_module_of_that_name_and_gives_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine", helper_xyz="WHO = 'mine'\n")
    write(tmp_path / "other", helper_xyz="WHO = 'other'\n", train="from helper_xyz import WHO\n")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    loaded = __import__("helper_xyz")
    try:
        assert load_object("train.py:WHO", base=tmp_path / "other") == "other"
        assert sys.modules["helper_xyz"] is loaded
        assert loaded.WHO == "mine"
    finally:
        del sys.modules["helper_xyz"]


def test_sibling_packages_and_folders_are_found(tmp_path: Path) -> None:
    write(tmp_path / "nets", __init__="from .parts import ONE\n", parts="ONE = 1\n")
    write(tmp_path / "plain", two="TWO = 2\n")
    write(tmp_path, train="import nets.parts\nfrom nets import ONE\nfrom plain.two import TWO\n")
    assert load_object("train.py:ONE", base=tmp_path) == 1
    assert load_object("train.py:TWO", base=tmp_path) == 2
    assert load_object("train.py:nets.parts.ONE", base=tmp_path) == 1
    assert not {"nets", "nets.parts", "plain", "plain.two"} & set(sys.modules)


def test_a_file_inside_a_package_may_import_relatively(tmp_path: Path) -> None:
    write(tmp_path / "pack" / "sub", __init__="", model="from ..base import X\nY = X + 1\n")
    write(tmp_path / "pack", __init__="", base="X = 1\n")
    assert load_object("pack/sub/model.py:Y", base=tmp_path) == 2


def test_an_installed_package_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, installed_xyz="X = 1\n", train="import installed_xyz as x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert load_object("train.py:x", base=tmp_path) is sys.modules["installed_xyz"]
    finally:
        sys.modules.pop("installed_xyz", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b.py:c", True),
        ("a.b:c.d", True),
        ("module:a:c", True),
        ("weights.pt", False),
        ("C:/weights.pt", False),
        ("a.py", False),
    ],
)
def test_what_counts_as_an_import_string(text: str, expected: bool) -> None:
    assert is_import(text) is expected


def test_a_text_that_is_no_import_string_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data must be FILE\.py:NAME .*Got 'model\.py'"):
        parse_import("model.py", what="data", error=ConfigError)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"search.yaml, model: there is no file 'no.py'"):
        load_object("no.py:x", base=tmp_path, what="search.yaml, model")


def test_a_missing_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"cannot import 'no_such_xyz': ModuleNotFoundError: No mod"
    ):
        load_object("no_such_xyz:x", base=tmp_path)


def test_a_missing_module_that_an_extra_brings_names_the_extra(tmp_path: Path) -> None:
    write(tmp_path, model="raise ModuleNotFoundError('No module', name='timm.layers')\n")
    with pytest.raises(ModelError, match=r"Run: pip install 'autoprune\[timm\]'\.$"):
        load_object("model.py:x", base=tmp_path)


def test_extras_that_are_named_exist() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for name in EXTRAS:
        brought = project["optional-dependencies"][name]
        assert any(re.match(rf"{name}\b", requirement) for requirement in brought)


def test_a_relative_path_that_leads_nowhere_tells_where_it_starts(tmp_path: Path) -> None:
    hint = r"start where the command runs; build them from Path\(__file__\)\.parent\.$"
    write(tmp_path, data="open('images/nowhere')\n")
    with pytest.raises(DataError, match=hint):
        load_object("data.py:x", base=tmp_path, error=DataError)
    for name, code in {
        "absolute": f"open({str(tmp_path / 'nowhere')!r})\n",
        "words": "raise FileNotFoundError('no valid file for the classes b')\n",
        "number": "raise FileNotFoundError(2, 'gone', 7)\n",
    }.items():
        write(tmp_path, **{name: code})
        with pytest.raises(DataError, match=r"line 1\)\.$"):
            load_object(f"{name}.py:x", base=tmp_path, error=DataError)


def test_a_missing_name_is_suggested(tmp_path: Path) -> None:
    write(tmp_path, model="def resnet(): ...\n")
    with pytest.raises(ModelError, match=r"'model.py' has no 'resent'. Did you mean 'resnet'\?"):
        load_object("model.py:resent", base=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = undefined\n", r"NameError: .* \(.*broken\.py, line 2\)\.$"),
        ("x = (\n", r"SyntaxError: .* \(.*broken\.py, line 1\)\.$"),
        ("import sys\nsys.exit(3)\n", r"SystemExit: 3 \(.*broken\.py, line 2\)\.$"),
        ("import json\n\njson.loads('{')\n", r"JSONDecodeError: .* \(.*broken\.py, line 3\)\.$"),
        ("import no_such_xyz\n", r"ModuleNotFoundError: .* \(.*broken\.py, line 1\)\.$"),
    ],
)
def test_an_error_in_the_file_names_its_line(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, broken=text)
    with pytest.raises(ModelError, match=message) as caught:
        load_object("broken.py:x", base=tmp_path)
    assert "\n" not in str(caught.value)
    write(tmp_path, broken="x = 1  # mended\n")
    assert load_object("broken.py:x", base=tmp_path) == 1


def test_a_name_that_could_be_both_is_not_guessed(tmp_path: Path) -> None:
    write(tmp_path, json="loads = 1\n", other="x = 1\n")
    with pytest.raises(ModelError, match=r"Write 'json.py:loads' or 'module:json:loads'"):
        load_object("json:loads", base=tmp_path)
    assert load_object("json.py:loads", base=tmp_path) == 1
    assert load_object("module:json:loads", base=tmp_path) is __import__("json").loads
    with pytest.raises(ModelError, match=r"no module 'other', but a file .*Write 'other.py:x'"):
        load_object("other:x", base=tmp_path)


def test_code_that_imports_nothing_from_a_folder_looks_for_nothing_and_waits_for_nobody() -> None:
    ends = threading.Event()

    def run() -> None:
        with user_code("it raised", ConfigError):
            ends.set()

    finders = list(sys.meta_path)
    with user_code("it raised", ConfigError):
        assert sys.meta_path == finders
        thread = threading.Thread(target=run)
        thread.start()
        assert ends.wait(10)
    thread.join()


def test_a_long_message_of_many_lines_stays_one_paragraph() -> None:
    text = blame(ValueError("many\nlines " * 500))
    assert "\n" not in text
    assert len(text) < 500
