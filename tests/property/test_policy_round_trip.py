from random import Random

from hypothesis import given
from hypothesis import strategies as st

from autoprune.core.policy import Choice, Policy

choices = st.builds(
    Choice,
    method=st.sampled_from(["channel.l1", "channel.l2", "channel.taylor"]),
    sparsity=st.floats(min_value=0.0, max_value=1.0, exclude_max=True),
)
units = st.dictionaries(st.text(min_size=1), choices, max_size=8)


@given(units)
def test_json_round_trip_is_identity(raw: dict[str, Choice]) -> None:
    policy = Policy(raw)
    again = Policy.from_json(policy.to_json())
    assert again == policy
    assert again.fingerprint == policy.fingerprint


@given(units, st.randoms(use_true_random=False))
def test_the_fingerprint_does_not_depend_on_the_order(
    raw: dict[str, Choice], random: Random
) -> None:
    shuffled = list(raw.items())
    random.shuffle(shuffled)
    assert Policy(dict(shuffled)).fingerprint == Policy(raw).fingerprint


@given(units, units)
def test_fingerprints_are_equal_exactly_when_policies_are(
    one: dict[str, Choice], other: dict[str, Choice]
) -> None:
    same = Policy(one) == Policy(other)
    assert (Policy(one).fingerprint == Policy(other).fingerprint) is same
