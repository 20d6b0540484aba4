import hashlib
import json

import pytest

from autoprune.core.policy import Choice, Policy
from autoprune.errors import ConfigError

L1 = Choice("channel.l1", 0.5)


def test_a_policy_maps_units_to_choices_in_the_order_of_their_names() -> None:
    policy = Policy({"b": L1, "a": Choice("channel.l2", 0.25)})
    assert list(policy) == ["a", "b"]
    assert policy["b"] == L1
    assert len(policy) == 2


def test_policies_that_prune_alike_are_equal_and_share_a_fingerprint() -> None:
    one = Policy({"a": L1, "b": Choice("channel.l2", 0.0)})
    other = Policy({"b": Choice("channel.taylor", 0.0), "a": L1})
    assert one == other == Policy({"a": L1})
    assert one.fingerprint == other.fingerprint
    assert len({one, other}) == 1


@pytest.mark.parametrize(
    "other", [{"a": Choice("channel.l2", 0.5)}, {"a": Choice("channel.l1", 0.25)}, {"b": L1}, {}]
)
def test_policies_that_prune_differently_have_different_fingerprints(
    other: dict[str, Choice],
) -> None:
    assert Policy(other).fingerprint != Policy({"a": L1}).fingerprint


def test_the_fingerprint_never_changes_between_versions() -> None:
    canonical = '{"stage1":{"method":"channel.l1","sparsity":0.5}}'
    expected = hashlib.sha256(canonical.encode()).hexdigest()
    assert Policy({"stage1": L1}).fingerprint == expected


def test_a_policy_cannot_be_changed() -> None:
    choices = {"a": L1}
    policy = Policy(choices)
    choices["b"] = L1
    assert "b" not in policy
    with pytest.raises(TypeError):
        policy["b"] = L1  # type: ignore[index]


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, 2.0, float("nan")])
def test_a_sparsity_outside_its_range_is_refused(sparsity: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Choice("channel.l1", sparsity)


@pytest.mark.parametrize("raw", [{"a": {}}, {"a": {"method": "channel.l1"}}, {"a": 0.5}, ["a"]])
def test_a_policy_of_another_form_is_refused(raw: object) -> None:
    with pytest.raises(ConfigError, match=r"policy\.json"):
        Policy.from_json(json.dumps(raw))
