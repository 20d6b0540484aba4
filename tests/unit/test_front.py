"""Samplers that take turns along a front, the study they share, and who is left on it."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from autoprune.agent.feasible.encoding import Rows
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.goals.front import non_dominated
from autoprune.agent.goals.members import Member, aim_as_before, helping
from autoprune.agent.loop.loop import Loop
from autoprune.agent.loop.trials import ask, tell
from autoprune.agent.samplers.base import PolicySampler
from autoprune.agent.samplers.front import FrontSampler
from autoprune.agent.samplers.history import History
from autoprune.agent.samplers.names import Start, check_along_fronts, make_sampler
from autoprune.agent.session import Session
from autoprune.core.policy import Policy
from autoprune.core.progress import silent
from autoprune.core.stages import Stage
from autoprune.errors import ConfigError
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation
from autoprune.storage.study import close_study, open_study
from autoprune.testing.chains import chain

pytestmark = pytest.mark.usefixtures("quiet_optuna")

KEPT = {f"u{at}": tuple(range(16, 2, -2)) for at in range(5)}
LIMITS = (0.3, 0.5, 0.7)
METHODS = ("channel.l1", "channel.l2")
ABLE = ("budgeted", "tpe", "nsga2", "random", "minimax", "uniform")


def limits() -> list[Projection]:
    return [chain(KEPT, f"macs={100 * at:g}%", METHODS) for at in LIMITS]


def sampler(name: str = "budgeted", seed: int = 0) -> FrontSampler:
    each = [make_sampler(name, Start(projection=one, seed=seed)) for one in limits()]
    return FrontSampler(each, seed)


Opened = Callable[[PolicySampler], optuna.Study]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    studies = list[optuna.Study]()

    def opened(proposes: PolicySampler) -> optuna.Study:
        url = sqlite_url(tmp_path / "study.db")
        studies.append(open_study(url, "s", costs=["macs"], sampler=proposes))
        return studies[-1]

    yield opened
    for study in studies:
        close_study(study)


def step(study: optuna.Study) -> tuple[Rows, float]:
    """Ask and tell one trial; return its row and its share of the dense MACs."""
    proposes = cast(FrontSampler, study.sampler)
    trial, params = ask(study, proposes)
    row = proposes.encoding.row(params)
    levels = proposes.encoding.split(row)[0]
    costs = proposes.projection.price(proposes.projection.levels(levels))
    score = 0.1 + float((proposes.encoding.removed(row) ** 2).sum())
    found = Evaluation(Policy({}), "scored", score, 0.5, 1.0, 1.0)
    tell(trial, found, costs.as_dict())
    return row, costs.macs / proposes.projection.cost.dense.macs


@pytest.mark.parametrize("name", ABLE)
def test_each_limit_has_its_turn_and_its_proposals_use_it_up(name: str, opened: Opened) -> None:
    study = opened(sampler(name))
    count = 3 if name in ("minimax", "uniform") else 15
    found = [step(study) for _ in range(count)]
    for number, (_, share) in enumerate(found):
        limit = LIMITS[number % len(LIMITS)]
        assert limit - 0.1 < share <= limit, f"proposal {number} of {name}"
    assert len({row.tobytes() for row, _ in found}) == count, "none comes twice"


@pytest.mark.parametrize("name", ["budgeted", "tpe"])
def test_a_resumed_front_goes_on_with_the_same_proposals(
    name: str, tmp_path: Path, opened: Opened
) -> None:
    study = opened(sampler(name))
    whole = [step(study)[0].tolist() for _ in range(15)]
    other, again = sqlite_url(tmp_path / "other.db"), []
    for count in (1, 5, 8, 1):
        study = open_study(other, "s", costs=["macs"], sampler=sampler(name))
        again += [step(study)[0].tolist() for _ in range(count)]
        close_study(study)
    assert again == whole


def test_a_limit_that_leaves_nothing_new_is_passed_over(opened: Opened) -> None:
    """Where the tightest limit holds one policy alone, the others get its turns."""
    kept = {"a": (4, 2), "b": (4, 2)}
    tight, wide = chain(kept, "params=6"), chain(kept, "params=8")
    study = opened(
        FrontSampler(
            [make_sampler("budgeted", Start(projection=p, seed=0)) for p in (tight, wide)], 0
        )
    )
    rows = {step(study)[0].tobytes() for _ in range(3)}
    assert len(rows) == 3, "all that is feasible at any limit"
    repeated = cast(FrontSampler, study.sampler).propose(study)
    assert (repeated.source, repeated.row.tobytes() in rows) == ("tried", True)


@pytest.mark.parametrize("name", ABLE)
def test_one_limit_alone_goes_on_in_the_study_of_a_front(name: str, opened: Opened) -> None:
    """As where all that was measured missed a limit, or an allocation is all that is left."""
    front = sampler(name)
    study = opened(front)
    before = {step(study)[0].tobytes() for _ in range(6)}
    study.sampler = FrontSampler(front.samplers[:1], 0)
    row, share = step(study)
    assert share <= LIMITS[0]
    assert name in ("minimax", "uniform") or row.tobytes() not in before


def test_limits_that_come_later_begin_with_their_own_first_policies(opened: Opened) -> None:
    """As on the way to a drop, where a limit follows from what was found at those before it."""
    study = opened(sampler())
    for _ in range(6):
        step(study)
    (later,) = limits()[:1]
    plain: dict[str, Any] = {f"level:{unit}": 3 for unit in KEPT}
    start = Start(projection=later, seed=0, anchors=[plain])
    begun, other = (FrontSampler([make_sampler("budgeted", start)], 0, at) for at in (6, 0))
    assert begun.propose(study).source == "anchor"
    assert other.propose(study).source != "anchor"


def test_a_pickled_front_goes_on(opened: Opened) -> None:
    study = opened(sampler())
    for _ in range(7):
        step(study)
    copied = pickle.loads(pickle.dumps(study.sampler))
    found, whole = (one.propose(study).row.tolist() for one in (copied, sampler()))
    assert found == whole


def test_a_policy_is_compared_inside_the_tightest_limit_it_meets() -> None:
    front = sampler()
    for at, one in enumerate(front.samplers):
        policy = front.encoding.policy(one.feasible.uniform())
        assert front.aim(policy) is front.samplers[at].projection
    assert front.aim(Policy({})) is front.projection, "what meets none is judged by the highest"


def test_incumbents_of_a_limit_are_inside_it(opened: Opened) -> None:
    front = sampler()
    study = opened(front)
    for _ in range(9):
        step(study)
    known = History(front.encoding).read(study)
    for one in front.samplers:
        inside = one.feasible.meets(known.rows)
        best = known.rows[known.leading(2, one.feasible.meets)]
        assert one.projection.meets(front.encoding.split(best)[0]).all()
        values = known.values[inside]
        assert np.allclose(sorted(values)[:2], [_value(known, row) for row in best])


def _value(known: Any, row: Rows) -> float:
    return float(known.values[int((known.rows == row).all(axis=1).argmax())])


def test_the_study_shows_score_and_cost(opened: Opened) -> None:
    study = opened(sampler())
    _, share = step(study)
    assert study.directions == [StudyDirection.MINIMIZE] * 2
    assert study.metric_names == ["score", "macs"]
    (trial,) = study.get_trials()
    assert trial.values[1] == share * limits()[0].cost.dense.macs
    assert study.best_trials == [trial]


def test_a_study_of_one_objective_is_no_study_of_a_front(opened: Opened, tmp_path: Path) -> None:
    opened(sampler())
    with pytest.raises(ConfigError, match="to minimize and minimize, not to minimize"):
        open_study(sqlite_url(tmp_path / "study.db"), "s")


def test_early_stops_are_known_with_what_they_had_reached(opened: Opened) -> None:
    """Optuna takes no reports in such a study; what was reached is kept beside it."""
    front = sampler()
    study = opened(front)
    stages = tuple(
        Stage(steps, samples=4, value=value, values=(value,))
        for value, steps in ((3.0, 1), (2.0, 2))
    )
    trial, _ = ask(study, front)
    stopped = Evaluation(Policy({}), "stopped: early stop", None, None, 1.0, 1.0, stages=stages)
    tell(trial, stopped, {"macs": 1.0})
    assert study.get_trials()[0].state == TrialState.PRUNED
    known = History(front.encoding).read(study)
    assert (known.reports, known.stopped) == ([{0: 3.0, 1: 2.0}], [0])


@pytest.mark.parametrize("name", ["cmaes", "spdy"])
def test_samplers_of_one_budget_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name!r} searches inside one budget.*budgeted"):
        check_along_fronts(name)


@pytest.mark.parametrize("name", ABLE)
def test_samplers_along_fronts_are_not(name: str) -> None:
    check_along_fronts(name)


def test_a_resumed_front_aims_where_it_did() -> None:
    front, study = sampler(), optuna.create_study(directions=["minimize"] * 2)
    study.set_user_attr("tightened at macs=50%", {"limits": {"macs": 0.9}, "trials": 20})
    request = SimpleNamespace(traded="macs")
    aim_as_before(cast(Session, SimpleNamespace(request=request, sampler=front, study=study)))
    assert [one.projection.tightened for one in front.samplers] == [{}, {"macs": 0.9}, {}]


def test_who_joins_late_helps_at_the_limit_that_was_lowered_last() -> None:
    front, study = sampler(), optuna.create_study(directions=["minimize"] * 2)
    request = SimpleNamespace(traded="macs", seed=0)
    session = cast(Session, SimpleNamespace(request=request, sampler=front, study=study))
    parts: Any = {"evaluations": None, "crew": None, "rollback": None, "timeout": None}
    loop = Loop(study=study, sampler=front, trials=20, progress=silent, **parts)
    assert helping(session, loop) is loop
    for limit, factor, trials in (("50%", 0.9, 25), ("70%", 0.8, 30)):
        lowered = {"limits": {"macs": factor}, "trials": trials}
        study.set_user_attr(f"tightened at macs={limit}", lowered)
    found = helping(session, loop)
    assert found.trials == 30
    assert found.sampler is study.sampler
    assert found.projection is front.samplers[2].projection
    assert found.projection.tightened == {"macs": 0.8}
    assert front.samplers[1].projection.tightened == {"macs": 0.9}


def member(number: int, quality: float, share: float) -> Member:
    evaluation = SimpleNamespace(quality=quality)
    parts: Sequence[Any] = (None, None, evaluation, {}, share)
    return Member(number, f"limit {number}", *parts)


def test_what_is_dominated_is_left_out_and_said_so() -> None:
    found = [member(1, 0.8, 0.2), member(2, 0.7, 0.4), member(3, 0.9, 0.6), member(4, 0.9, 0.8)]
    chosen, left_out = non_dominated(found)
    assert [one.number for one in chosen] == [1, 3]
    assert [(one.limit, one.reason) for one in left_out] == [
        ("limit 2", "its best model is no better than that of limit 1, and costs no less"),
        ("limit 4", "its best model is no better than that of limit 3, and costs no less"),
    ]
