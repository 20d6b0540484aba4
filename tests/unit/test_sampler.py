"""The sampler: feasible, repeatable, never the same twice, and blind to what was abandoned."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, Trial, TrialState
from torch import nn

from autoprune.agent.feasible.encoding import Encoding, Rows, distributions, levels_of, policy_of
from autoprune.agent.feasible.parts import patterns_of
from autoprune.agent.feasible.projection import Projection
from autoprune.agent.loop.trials import abandon
from autoprune.agent.loop.trials import ask as begin
from autoprune.agent.loop.trials import ended as finished_trials
from autoprune.agent.samplers import allocated
from autoprune.agent.samplers.allocated import SpdySampler
from autoprune.agent.samplers.attributes import COEFFICIENTS
from autoprune.agent.samplers.budgeted import BudgetedSampler
from autoprune.agent.samplers.claims import claim
from autoprune.agent.samplers.projected import ProjectedSampler
from autoprune.core.budget import Budget
from autoprune.cost.model import CostModel
from autoprune.errors import ConfigError
from autoprune.space.schema import SearchSpace
from autoprune.storage.engine import sqlite_url
from autoprune.storage.study import close_study, open_study
from autoprune.storage.study_trials import ABANDONED, taken_over, unfinished
from autoprune.surgery.plan import Plan
from autoprune.testing.chains import chain

Params = dict[str, Any]
METHODS = ["channel.l1", "channel.l2"]
TRIALS = 13  # TPE starts to learn after 10


@pytest.fixture
def projection(cost: CostModel, plan: Plan) -> Projection:
    atoms = {name: unit.atoms for name, unit in plan.units.items()}
    sparsities = [at / 12 for at in range(1, 12)]
    space = SearchSpace.model_validate({"methods": METHODS, "sparsities": sparsities})
    return Projection(cost, space.resolve(atoms), Budget.parse("macs=50%"))


def in_memory(projection: Projection, seed: int = 0, anchors: Sequence[Params] = ()) -> Any:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=ProjectedSampler(projection, seed, anchors))


def ask(study: optuna.Study, projection: Projection) -> Trial:
    return study.ask(distributions(projection.spaces))


def value_of(params: Params) -> float:
    """Return something to minimise that depends on every parameter."""
    numbers = sorted(f"{name}={value}" for name, value in params.items())
    return sum((at + 1) * sum(map(ord, text)) % 17 for at, text in enumerate(numbers))


def step(study: optuna.Study, projection: Projection) -> Params:
    trial = ask(study, projection)
    number = len(finished_trials(study))
    if number % 5 == 4:  # some candidates fail
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, value_of(trial.params))
    return dict(trial.params)


def steps(study: optuna.Study, projection: Projection, count: int = TRIALS) -> list[Params]:
    return [step(study, projection) for _ in range(count)]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    yield
    optuna.logging.set_verbosity(before)


def test_the_same_seed_proposes_the_same(projection: Projection) -> None:
    first = steps(in_memory(projection), projection)
    assert first == steps(in_memory(projection), projection)
    assert first != steps(in_memory(projection, seed=1), projection)


def test_what_was_told_matters(projection: Projection) -> None:
    proposals = []
    for sign in (1, -1):
        study = in_memory(projection)
        for _ in range(11):
            trial = ask(study, projection)
            study.tell(trial, sign * levels_of(trial.params, projection.spaces)["stem"])
        proposals.append(ask(study, projection).params)
    assert proposals[0] != proposals[1]


def test_every_proposal_is_feasible_and_new(projection: Projection) -> None:
    proposed = steps(in_memory(projection), projection)
    assert all(projection.feasible(levels_of(p, projection.spaces)) for p in proposed)
    policies = {policy_of(p, projection.spaces).fingerprint for p in proposed}
    assert len(policies) == TRIALS


def test_a_reopened_study_goes_on_with_the_same_proposals(
    projection: Projection, tmp_path: Path
) -> None:
    undisturbed = steps(in_memory(projection), projection)
    url, found = sqlite_url(tmp_path / "study.db"), []
    for count in (1, 5, 5, 1, 1):
        study = open_study(url, "s", sampler=ProjectedSampler(projection, 0))
        found += steps(study, projection, count)
        close_study(study)
    assert found == undisturbed


def test_abandoned_trials_change_nothing(projection: Projection, tmp_path: Path) -> None:
    undisturbed = steps(in_memory(projection), projection)
    sampler = ProjectedSampler(projection, 0)
    study, found = open_study(sqlite_url(tmp_path / "study.db"), "s", sampler=sampler), []
    for number in range(TRIALS):
        if number % 3 == 0:
            lost = ask(study, projection)
            (left,) = taken_over(study, unfinished(study))
            abandon(left)
            assert study.trials[lost.number].user_attrs["outcome"] == ABANDONED
        found.append(step(study, projection))
    close_study(study)
    assert found == undisturbed


def test_anchors_come_first_and_are_projected(projection: Projection) -> None:
    whole = {"method:stem": "channel.l1", "method:inner": "channel.l2"}
    dense = {"level:stem": 0, "level:inner": 0} | whole
    small = {"level:stem": 0, "level:inner": 11} | whole
    first, second, third = steps(in_memory(projection, 0, [dense, small]), projection, 3)
    for proposed, anchor in ((first, dense), (second, small)):
        levels = projection.project(levels_of(anchor, projection.spaces))
        assert levels_of(proposed, projection.spaces) == levels
        named = {f"level:{unit}": level for unit, level in levels.items()}
        spaces = projection.spaces
        assert policy_of(proposed, spaces) == policy_of(anchor | named, spaces)
    assert third not in (first, second)


def test_anchors_that_project_alike_are_not_proposed_twice(projection: Projection) -> None:
    whole = {"method:stem": "channel.l1", "method:inner": "channel.l1"}
    same = [{"level:stem": 0, "level:inner": level} | whole for level in (9, 10, 11)]
    proposed = steps(in_memory(projection, 0, same), projection, 3)
    assert len({policy_of(p, projection.spaces).fingerprint for p in proposed}) == 3


def test_where_all_was_tried_a_known_policy_comes_back(cost: CostModel, plan: Plan) -> None:
    given = {"methods": METHODS, "sparsities": [0.5], "protect": ["inner"]}
    space = SearchSpace.model_validate(given)
    spaces = space.resolve({n: u.atoms for n, u in plan.units.items()})
    projection = Projection(cost, spaces, Budget.parse("macs=50%"))
    proposed = steps(in_memory(projection), projection, 3)
    assert sorted(p["method:stem"] for p in proposed[:2]) == METHODS
    assert proposed[2] in proposed[:2]


@pytest.mark.parametrize("sampler", [ProjectedSampler, BudgetedSampler])
def test_patterns_beside_other_zeros_are_proposed_once(
    net: nn.Module, plan: Plan, sampler: Any
) -> None:
    given = {"methods": ["unstructured.l1", "2:4.l1"], "sparsities": [0.25, 0.5, 0.75]}
    space = SearchSpace.model_validate({**given, "protect": ["weights", "[sh]*"]})
    spaces = space.resolve(plan.atoms, plan.kinds)
    cost = CostModel(net, plan, patterns=patterns_of(spaces))
    projection = Projection(cost, spaces, Budget.parse("sparse_macs=85%"))
    encoding = Encoding(spaces)
    wishes = np.array(list(product(range(4), range(4), range(2), range(2))))
    every = np.unique(encoding.join(*encoding.split(wishes)), axis=0)
    fine = every[projection.meets(encoding.split(every)[0])]
    study = optuna.create_study(sampler=sampler(projection, 0))
    proposed = [policy_of(p, spaces) for p in steps(study, projection, len(fine) + 1)]
    assert len(set(proposed)) == len(fine), "none twice"
    assert set(proposed) == {encoding.policy(row) for row in fine}


@pytest.mark.parametrize("ends", [(0, 1, 2), (2, 0, 1)])
def test_coefficients_are_changed_from_the_best_ones_in_whatever_order_they_end(
    projection: Projection, ends: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocated, "_DRAWN", 3)
    sampler = SpdySampler(projection, 0)
    study = optuna.create_study(sampler=sampler)
    trials = [begin(study, sampler)[0] for _ in range(3)]
    for number in ends:
        study.tell(trials[number], float(-number))
    known = sampler._history.read(study)
    used = [trial.user_attrs[COEFFICIENTS] for trial in trials]
    assert len(set(map(tuple, used))) == 3
    proposed = sampler.propose(study).coefficients
    assert [abs(a - b) for a, b in zip(proposed, used[2], strict=True)].count(0.0) >= 1
    assert sampler._changed(np.array(used[2]), sampler._rng(known)).tolist() == list(proposed)


def test_what_a_user_calls_coefficients_is_none_of_ours(
    projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocated, "_DRAWN", 1)
    sampler = SpdySampler(projection, 0)
    study = optuna.create_study(sampler=sampler)
    trial, _ = begin(study, sampler)
    trial.set_user_attr(COEFFICIENTS, [0.1, 0.2, 0.3])
    study.tell(trial, 1.0)
    assert len(sampler.propose(study).coefficients) == len(projection.spaces)


def test_parameters_beside_the_policy_are_passed_on(projection: Projection) -> None:
    trial = in_memory(projection).ask()
    assert 0 <= trial.suggest_float("rate", 0, 1) <= 1


def test_what_the_predictor_expects_most_of_is_proposed() -> None:
    """Six units, one of which costs ten times as much in score as the others."""
    kept = {f"u{unit}": tuple(range(24, 3, -4)) for unit in range(6)}
    projection = chain(kept, "macs=40%")
    sampler = BudgetedSampler(projection, 0, exploration=0.0)
    weights = np.array([1.0, 10.0, 1.0, 1.0, 1.0, 1.0])

    def score(row: Rows) -> float:
        return float(1 + (sampler.encoding.removed(row) ** 2) @ weights)

    study = optuna.create_study(sampler=sampler)
    drawn = sampler.pool.random(np.random.default_rng(0), 20)
    rows = [*np.unique(drawn, axis=0)]
    proposed = []
    for _ in range(len(rows) + 8):
        row = rows.pop() if rows else sampler.propose(study).row
        proposed.append(score(row))
        params, space = sampler.encoding.params(row), sampler.space
        study.add_trial(
            optuna.create_trial(params=params, distributions=space, value=proposed[-1])
        )
    assert max(proposed[-8:]) < np.median(proposed[:-8])
    assert min(proposed[-8:]) < min(proposed[:-8])


def test_two_that_ask_at_the_same_moment_do_not_get_the_same(projection: Projection) -> None:
    """Neither has told the other yet: the number of the trial makes the difference."""
    study = optuna.create_study()
    for _ in range(2):
        study.ask()
    samplers = [BudgetedSampler(projection, 0, anchors(4, projection)) for _ in range(2)]
    rows = [s.propose(study, t).row for s, t in zip(samplers, study.trials, strict=True)]
    assert rows[0].tolist() == samplers[0].feasible.projected(samplers[0]._anchors[0]).tolist()
    assert rows[1].tolist() == samplers[1].feasible.projected(samplers[1]._anchors[1]).tolist()
    for sampler in samplers:
        sampler._anchors = []
    drawn = [s.propose(study, t).row for s, t in zip(samplers, study.trials, strict=True)]
    assert drawn[0].tolist() != drawn[1].tolist()


def anchors(count: int, projection: Projection) -> list[Params]:
    encoding = ProjectedSampler(projection, 0).encoding
    return [encoding.params(row) for row in encoding.random(np.random.default_rng(0), count)]


def test_a_model_that_is_tried_beside_the_search_is_no_policy_to_start_from(
    projection: Projection,
) -> None:
    """Somebody enqueues the dense model: it scores best, but is outside the budget."""
    sampler = BudgetedSampler(projection, 0)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial(dict.fromkeys(("level:stem", "level:inner"), 0))
    rows = []
    for _ in range(TRIALS):
        trial = ask(study, projection)
        rows.append(sampler.encoding.row(trial.params))
        study.tell(trial, float(sampler.encoding.removed(rows[-1]).sum()))
    assert not sampler.encoding.removed(rows[0]).any()
    levels = np.stack(rows[1:])[:, : sampler.encoding.units]
    assert projection.meets(levels).all()
    assert len({row.tobytes() for row in rows}) == TRIALS


def test_several_objectives_are_refused(projection: Projection) -> None:
    study = optuna.create_study(
        sampler=BudgetedSampler(projection, 0), directions=["minimize", "maximize"]
    )
    with pytest.raises(ConfigError, match=r"by one value\. This study has 2 objectives"):
        ask(study, projection)


def test_what_another_process_claims_at_the_same_moment_is_not_scored_twice(
    projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = BudgetedSampler(projection, 0)
    study = optuna.create_study(sampler=sampler)
    other = study.ask()
    claimed: list[list[int]] = []

    def both(of: optuna.Study, trial: FrozenTrial, row: Rows) -> bool:
        if not claimed:
            claim(of, study.trials[other.number], row)
        claimed.append(row.tolist())
        return claim(of, trial, row)

    monkeypatch.setattr("autoprune.agent.samplers.base.claim", both)
    trial = study.ask(sampler.space)
    assert len(claimed) == 2
    assert sampler.encoding.row(trial.params).tolist() == claimed[1] != claimed[0]
