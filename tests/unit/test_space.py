"""Search spaces: what they allow for each unit, and what they refuse."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from autoprune._resources import names
from autoprune.core.policy import Choice
from autoprune.errors import ConfigError
from autoprune.methods import find_method
from autoprune.space.loader import FOLDER, load_space, read_space
from autoprune.space.schema import SearchSpace, UnitSpace, kept_atoms

ATOMS = {"stem": 16, "layer1.conv1": 16, "layer1.conv2": 32, "layer2.conv1": 10}


def space(**changes: Any) -> SearchSpace:
    raw = {"schema": 1, "methods": ["channel.l1"], "sparsities": [0.25, 0.5], **changes}
    return SearchSpace.model_validate(raw)


def write(path: Path, **changes: Any) -> Path:
    raw = {"schema": 1, "methods": ["channel.l1"], "sparsities": [0.25, 0.5], **changes}
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", names(FOLDER, ".yaml"))
def test_every_shipped_space_loads_and_names_methods_that_exist(name: str) -> None:
    shipped = load_space(name)
    assert shipped.description
    for method in shipped.all_methods:
        assert find_method(method).name == method


def test_the_default_space_lets_every_unit_go_from_whole_to_an_eighth() -> None:
    resolved = load_space("default").resolve({"a": 32, "b": 2})
    assert resolved["a"].kept == (32, 30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4)
    assert resolved["a"].methods == ("channel.l1", "channel.l2", "channel.taylor")
    assert resolved["b"].kept == (2, 1)


def test_levels_start_untouched_and_fall() -> None:
    resolved = space(sparsities=[0.5, 0.125, 0.25]).resolve({"a": 16})
    assert resolved["a"] == UnitSpace("a", 16, ("channel.l1",), (16, 14, 12, 8))
    assert resolved["a"].levels == 4


@pytest.mark.parametrize(
    ("atoms", "sparsity", "kept"),
    [
        (16, 0.5, 8),
        (10, 0.25, 8),
        (10, 0.35, 6),
        (3, 0.5, 1),
        (2, 0.9, 1),
        (1, 0.5, 1),
        (8, 0.01, 8),
    ],
)
def test_kept_atoms_are_rounded_and_never_none(atoms: int, sparsity: float, kept: int) -> None:
    assert kept_atoms(atoms, sparsity) == kept


@pytest.mark.parametrize(
    ("step", "kept"),
    [(1, (20, 15, 10, 5)), (4, (20, 16, 12, 8)), (8, (20, 16, 8)), (16, (20, 16)), (32, ())],
)
def test_a_step_rounds_the_kept_atoms_up(step: int, kept: tuple[int, ...]) -> None:
    resolved = space(step=step, sparsities=[0.25, 0.5, 0.75]).resolve({"a": 20})
    assert (resolved["a"].kept if kept else ()) == kept
    assert ("a" in resolved) is bool(kept)


@pytest.mark.parametrize(
    ("atoms", "steps", "kept"),
    [
        (256, (8, 16), (256, 192, 128, 64)),
        (100, (8, 16), (100, 80, 56, 32)),  # 16 would leave fewer than eight levels
        (20, (8, 16), (20, 16, 8)),  # never below the smaller step
        (20, (1, 16), (20, 16, 10, 6)),  # where the device has none, an eighth of the atoms
        (100, (1, 1), (100, 75, 50, 25)),
    ],
)
def test_an_automatic_step_lies_between_those_of_the_device(
    atoms: int, steps: tuple[int, int], kept: tuple[int, ...]
) -> None:
    given = space(step="auto", sparsities=[0.25, 0.5, 0.75])
    assert given.resolve({"a": atoms}, steps=steps)["a"].kept == kept


def test_sparsities_that_keep_as_many_atoms_are_one_level() -> None:
    assert space(sparsities=[0.4, 0.45, 0.5, 0.55]).resolve({"a": 4})["a"].kept == (4, 2)


def test_units_too_small_for_any_sparsity_are_left_out() -> None:
    assert list(space(sparsities=[0.1]).resolve({"tiny": 4, "wide": 10})) == ["wide"]


def test_a_choice_says_the_sparsity_that_is_reached() -> None:
    unit = space(sparsities=[0.3]).resolve({"a": 8})["a"]
    assert unit.kept == (8, 6)
    assert unit.choice("channel.l1", 0) == Choice("channel.l1", 0.0)
    assert unit.choice("channel.l1", 1) == Choice("channel.l1", 0.25)
    assert kept_atoms(8, unit.choice("channel.l1", 1).sparsity) == 6


@pytest.mark.parametrize("atoms", [2, 3, 7, 10, 33, 97, 1000])
def test_what_a_choice_says_gives_its_level_back(atoms: int) -> None:
    unit = load_space("default").resolve({"a": atoms})["a"]
    for level, kept in enumerate(unit.kept):
        assert kept_atoms(atoms, unit.choice("channel.l1", level).sparsity) == kept


def test_rules_change_what_they_name_and_the_last_match_wins() -> None:
    resolved = space(
        units=[
            {"match": "layer*", "methods": ["channel.l2"], "step": 8},
            {"match": "*.conv1", "sparsities": [0.75]},
            {"match": "layer2.*", "methods": ["channel.taylor", "channel.l1"], "step": 1},
        ]
    ).resolve(ATOMS)
    assert list(resolved) == list(ATOMS)
    assert resolved["stem"] == UnitSpace("stem", 16, ("channel.l1",), (16, 12, 8))
    assert resolved["layer1.conv1"] == UnitSpace("layer1.conv1", 16, ("channel.l2",), (16, 8))
    assert resolved["layer1.conv2"] == UnitSpace("layer1.conv2", 32, ("channel.l2",), (32, 24, 16))
    expected = UnitSpace("layer2.conv1", 10, ("channel.taylor", "channel.l1"), (10, 2))
    assert resolved["layer2.conv1"] == expected


def test_all_methods_are_those_of_the_space_and_its_rules() -> None:
    declared = space(units=[{"match": "*", "methods": ["channel.taylor", "channel.l1"]}])
    assert declared.all_methods == ["channel.l1", "channel.taylor"]


def test_protected_units_are_left_out() -> None:
    assert list(space(protect=["layer1.*", "stem"]).resolve(ATOMS)) == ["layer2.conv1"]
    assert list(space(protect=["*"]).resolve(ATOMS)) == []


def test_protection_is_stronger_than_a_rule() -> None:
    declared = space(protect=["stem"], units=[{"match": "stem", "step": 2}])
    assert "stem" not in declared.resolve(ATOMS)


def test_patterns_mind_the_case_and_the_whole_name() -> None:
    for pattern in ("Stem", "layer1", "conv1"):
        with pytest.raises(ConfigError, match="matches no unit"):
            space(protect=[pattern]).resolve(ATOMS)


@pytest.mark.parametrize(
    "changes", [{"protect": ["layer1.conv3"]}, {"units": [{"match": "layer1.conv3"}]}]
)
def test_a_pattern_that_matches_nothing_names_the_near_miss(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"'layer1\.conv3'.*Did you mean 'layer1\.conv[12]'"):
        space(**changes).resolve(ATOMS)


def test_a_pattern_far_from_everything_lists_the_units() -> None:
    with pytest.raises(ConfigError, match=r"'zzz'.*Known: layer1\.conv1, layer1\.conv2"):
        space(protect=["zzz"]).resolve(ATOMS)


def test_a_pattern_that_fits_part_of_the_names_suggests_groups() -> None:
    with pytest.raises(ConfigError, match=r"'layer3\.\*'.*Did you mean 'layer[12]\.\*' or 'layer"):
        space(protect=["layer3.*"]).resolve(ATOMS)


def test_a_long_list_of_units_is_cut() -> None:
    with pytest.raises(ConfigError, match=r"Known: a\.0, .* and 80 more\.$"):
        space(protect=["zzz"]).resolve({f"a.{number}": 8 for number in range(100)})


def test_a_space_names_the_models_it_is_for() -> None:
    assert space(**{"for": ["resnet18"]}).for_ == ("resnet18",)
    assert space().for_ == ()


def test_a_space_of_ones_own_is_read_from_the_given_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / "mine.yaml", step=3)
    assert load_space("file:deep/mine.yaml", tmp_path).step == 3
    assert load_space(f"file:{tmp_path}/deep/mine.yaml").step == 3


def test_a_relative_file_starts_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine.yaml", step=5)
    monkeypatch.chdir(tmp_path)
    assert load_space("file:mine.yaml").step == 5


def test_a_bare_name_never_reads_a_file_but_tells_how(tmp_path: Path) -> None:
    write(tmp_path / "mine.yaml")
    with pytest.raises(ConfigError, match=r"Unknown search space 'mine\.yaml'.*'file:mine\.yaml'"):
        load_space("mine.yaml", tmp_path)


def test_a_shipped_space_is_not_hidden_by_a_file(tmp_path: Path) -> None:
    write(tmp_path / "default", step=7)
    assert load_space("default", tmp_path).step == "auto"


def test_an_unknown_space_names_the_near_miss() -> None:
    with pytest.raises(
        ConfigError, match=r"Unknown search space 'defualt'.*Did you mean 'default'"
    ):
        load_space("defualt")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_space("file:absent.yaml", tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sparsity": [0.5]}, r"sparsity.*Did you mean 'sparsities'"),
        (
            {"units": [{"match": "*", "steps": 2}]},
            r"unknown key 'units\.0\.steps'\. Did you mean 'step'",
        ),
        ({"stp": 1, "units": [{"step": 2}]}, r"units\.0\.match.* unknown key 'stp'\. Did you"),
        ({"units": [{"step": 2}]}, r"units\.0\.match"),
        ({"methods": []}, "methods"),
        ({"methods": ["channel.l1", "channel.l1"]}, "methods.*twice"),
        ({"sparsities": [0.5, 0.5]}, "sparsities.*twice"),
        ({"sparsities": []}, "sparsities"),
        ({"sparsities": [0.0]}, r"sparsities\.0"),
        ({"sparsities": [0.5, 1.0]}, r"sparsities\.1"),
        ({"sparsities": [-0.5]}, r"sparsities\.0"),
        ({"sparsities": ["half"]}, r"sparsities\.0.*'half'"),
        ({"units": [{"match": "*", "sparsities": [1.5]}]}, r"units\.0\.sparsities\.0.*1\.5"),
        ({"step": 0}, "step"),
        ({"step": 1.5}, "step"),
        ({"schema": 2}, "schema"),
        ({"protect": "stem"}, "protect"),
    ],
)
def test_what_is_not_understood_names_the_file_and_the_key(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"mine\.yaml: .*{message}"):
        read_space(write(tmp_path / "mine.yaml", **changes))


@pytest.mark.parametrize("key", ["methods", "sparsities"])
def test_a_key_that_is_missing_is_named(key: str, tmp_path: Path) -> None:
    raw = {"methods": ["channel.l1"], "sparsities": [0.5]}
    del raw[key]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"mine\.yaml: the key '{key}' is missing"):
        read_space(path)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.yaml")
    path.write_text(path.read_text(encoding="utf-8") + "methods: [channel.l2]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml.*'methods' is there twice"):
        read_space(path)


def test_rules_with_an_empty_list_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.yaml", units=[{"match": "*", "methods": []}])
    with pytest.raises(ConfigError, match=r"units\.0\.methods"):
        read_space(path)


def test_duplicates_in_a_rule_are_refused(tmp_path: Path) -> None:
    rules = [{"match": "a*", "methods": ["channel.l1"]}, {"match": "*", "sparsities": [0.5, 0.5]}]
    path = write(tmp_path / "mine.yaml", units=rules)
    with pytest.raises(ConfigError, match=r"units\.1\.sparsities: .* twice"):
        read_space(path)
