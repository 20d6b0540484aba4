"""What was scored stays in order, however it comes."""

import random

import pytest

from autoprune.agent.loop.ranking import Scored
from autoprune.core.policy import Choice, Policy
from autoprune.storage.records import Evaluation


def evaluation(at: int, score: float | None) -> Evaluation:
    policy = Policy({"u": Choice("channel.l1", at / 1000)})
    return Evaluation(policy, "scored" if score is not None else "failed: x", score, None, 0, 0)


def test_the_order_is_that_of_sorting_all_of_them() -> None:
    drawn, scored = random.Random(0), Scored()
    last: dict[str, Evaluation] = {}
    for _ in range(300):  # some are scored again, for better or worse
        score = None if drawn.random() < 0.2 else drawn.choice([1.0, 2.0, drawn.random()])
        one = evaluation(drawn.randrange(1, 100), score)
        scored[one.policy.fingerprint] = last[one.policy.fingerprint] = one
    fine = [(e.score, name, e) for name, e in last.items() if e.score is not None]
    assert list(scored.best_first()) == [e for _, _, e in sorted(fine, key=lambda x: x[:2])]
    assert dict(scored) == last


def test_the_latest_come_first_and_failures_do_not_count() -> None:
    scored = Scored()
    for at, score in enumerate((3.0, None, 1.0, 2.0, None), 1):
        one = evaluation(at, score)
        scored[one.policy.fingerprint] = one
    assert [one.score for one in scored.latest(2)] == [2.0, 1.0]
    assert [one.score for one in scored.latest(9)] == [2.0, 1.0, 3.0]
    del scored[evaluation(3, 0.0).policy.fingerprint]
    assert [one.score for one in scored.best_first()] == [2.0, 3.0]
    with pytest.raises(KeyError):
        del scored["unknown"]
