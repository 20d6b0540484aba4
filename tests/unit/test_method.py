"""Names of methods: what they stand for, and what a user is told who got one wrong."""

import pytest

from autoprune.errors import ConfigError
from autoprune.methods import CRITERIA, ElementCriterion, find_method, method_names


@pytest.mark.parametrize(
    ("name", "kind", "pattern", "criterion", "removes"),
    [
        ("channel.l1", "channel", None, "l1", True),
        ("head.taylor", "head", None, "taylor", True),
        ("block.drop", "block", None, "drop", True),
        ("unstructured.fisher", "weights", None, "fisher", False),
        ("2:4.l1", "weights", (2, 4), "l1", False),
        ("3:7.random", "weights", (3, 7), "random", False),
    ],
)
def test_a_name_is_a_structure_and_a_criterion(
    name: str, kind: str, pattern: tuple[int, int] | None, criterion: str, removes: bool
) -> None:
    method = find_method(name)
    assert method.name == name
    assert (method.structure.kind, method.structure.pattern) == (kind, pattern)
    assert method.criterion is CRITERIA.get(criterion)
    assert method.criterion_name == criterion
    assert method.removes is removes
    assert method.origin == "autoprune"


def test_what_ranks_single_weights_by_one_criterion_shares_a_key() -> None:
    keys = {find_method(name).key for name in ("unstructured.l1", "2:4.l1", "1:4.l1")}
    assert len(keys) == 1
    others = ["channel.l1", "head.l1", "unstructured.l2", "unstructured.l1"]
    assert len({find_method(name).key for name in others}) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("channel.l3", r"Unknown method 'channel\.l3': .* 'l3'\. Known: bn_scale, .* l2, "),
        ("2:4.tailor", r"Unknown method '2:4\.tailor': .* Did you mean 'taylor'\? Known: fisher"),
        ("channel.xyz", r"Unknown method 'channel\.xyz': .* 'xyz'\. Known: [^:]*taylor\.$"),
        ("2:4.fpgm", r"'fpgm' cannot rank single weights, .*: fisher, .*taylor"),
        ("unstructured.drop", r"'drop' cannot rank single weights"),
        ("block.l1", r"'l1' cannot rank whole blocks, .*'block\.l1' .*: drop\.$"),
        ("channel.drop", r"'drop' cannot rank channels"),
        ("head.drop", r"'drop' cannot rank attention heads"),
        ("4:2.l1", r"STRUCTURE\.CRITERION, .*0 < N < M.*'4:2\.l1'"),
        ("0:4.l1", r"0 < N < M"),
        ("l1", r"STRUCTURE\.CRITERION"),
        ("channel.", r"STRUCTURE\.CRITERION"),
        ("filter.l1", r"one of channel, head, block, unstructured or N:M"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_method(name)


def test_every_listed_name_is_found_and_every_fit_is_listed() -> None:
    names = list(method_names())
    assert len(set(names)) == len(names)
    methods = [find_method(name) for name in names]
    assert {"channel.fpgm", "head.bn_scale", "block.drop", "2:4.l1", "1:4.l2"} < set(names)
    for criterion in CRITERIA:
        kinds = {m.structure.kind for m in methods if m.criterion_name == criterion}
        assert kinds == set(CRITERIA.get(criterion).kinds)
    for method in methods:
        assert method.removes or isinstance(method.criterion, ElementCriterion)
