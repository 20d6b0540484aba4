"""A study of one's own: proposals inside the budget, policies, prices and smaller models."""

import pickle
from dataclasses import replace
from typing import Any

import optuna
import pytest
import torch
from torch import nn

import autoprune
from autoprune import Choice, Policy, Prunable, Sensitivity
from autoprune.errors import BudgetError, ConfigError
from autoprune.space.schema import SearchSpace
from autoprune.tasks import Classification

pytestmark = pytest.mark.usefixtures("quiet_optuna")

IMAGES = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
SPACE = SearchSpace.model_validate(
    {"methods": ["channel.l1", "channel.taylor"], "sparsities": [0.25, 0.5, 0.75]}
)
WEIGHTS_ONLY = SPACE.model_copy(update={"methods": ("channel.l1", "channel.l2")})


@pytest.fixture
def prunable(net: nn.Module, task: Classification) -> Prunable:
    return autoprune.prunable(net, task=task, budget="macs=50%", space=SPACE)


def score(policy: Policy) -> float:
    return sum(choice.sparsity**2 for choice in policy.values())


def test_a_study_of_ones_own_gets_policies_inside_the_budget(
    prunable: Prunable, net: nn.Module
) -> None:
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    study = optuna.create_study(sampler=prunable.sampler())
    policies = []

    def objective(trial: optuna.Trial) -> float:
        policies.append(prunable.suggest(trial))
        return score(policies[-1]) + 0 * trial.suggest_float("rate", 0, 1)

    study.optimize(objective, n_trials=8)
    dense = prunable.costs(Policy({}))
    assert all(prunable.costs(policy).macs <= dense.macs // 2 for policy in policies)
    assert len(set(policies)) == 8
    assert [prunable.policy(trial.params) for trial in study.trials] == policies
    smaller = prunable.apply(policies[-1])
    params = sum(parameter.numel() for parameter in smaller.parameters())
    assert params == prunable.costs(policies[-1]).params < dense.params
    assert smaller(IMAGES).shape == (2, 3)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_suggesting_one_by_one_and_asking_for_all_give_the_same(prunable: Prunable) -> None:
    found: list[list[Policy]] = []
    for whole in (True, False):
        study = optuna.create_study(sampler=prunable.sampler(seed=3))
        found.append([])
        for _ in range(8):
            trial = study.ask(prunable.distributions if whole else None)
            found[-1].append(prunable.policy(trial.params) if whole else prunable.suggest(trial))
            study.tell(trial, score(found[-1][-1]))
    assert found[0] == found[1]


def test_without_a_task_what_needs_gradients_is_left_out(net: nn.Module) -> None:
    found = autoprune.prunable(net, IMAGES, budget="params=60%", space=SPACE)
    assert {method for unit in found.units.values() for method in unit.methods} == {"channel.l1"}
    trial = optuna.create_study(sampler=found.sampler("tpe")).ask(found.distributions)
    assert found.apply(found.policy(trial.params))(IMAGES).shape == (2, 3)
    graded = SPACE.model_copy(update={"methods": ("channel.taylor",)})
    match = r"All methods of the search space need gradients: channel.taylor"
    with pytest.raises(ConfigError, match=match):
        autoprune.prunable(net, IMAGES, budget="params=60%", space=graded)


def test_gradients_of_the_task_are_the_order_in_which_atoms_go(prunable: Prunable) -> None:
    kept = {
        method: prunable.apply(Policy({"inner": Choice(method, 0.5)})).state_dict()["inner.weight"]
        for method in ("channel.l1", "channel.taylor")
    }
    assert kept["channel.l1"].shape == kept["channel.taylor"].shape == (6, 8, 3, 3)
    assert not torch.equal(kept["channel.l1"], kept["channel.taylor"])


def table(prunable: Prunable) -> Sensitivity:
    errors = {
        unit: {m: torch.arange(space.levels).double().numpy() ** 2 for m in space.methods}
        for unit, space in prunable.units.items()
    }
    errors["inner"] = {method: 100 * own for method, own in errors["inner"].items()}
    sparsities = {
        unit: [1 - kept / space.atoms for kept in space.kept]
        for unit, space in prunable.units.items()
    }
    return Sensitivity(dense_loss=1.0, errors=errors, noise=errors, sparsities=sparsities)


def test_the_sensitivity_table_decides_the_first_proposal(prunable: Prunable) -> None:
    trial = optuna.create_study(sampler=prunable.sampler(errors=table(prunable))).ask()
    first = prunable.suggest(trial)
    assert "inner" not in first, "it is the unit that gives up most"


def test_a_table_of_another_space_is_refused(prunable: Prunable) -> None:
    other = replace(table(prunable), sparsities={"stem": [0.0, 0.5], "inner": [0.0]})
    with pytest.raises(ConfigError, match=r"does not fit: of 'stem' it must have 4 levels"):
        prunable.sampler(errors=other)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"'level:stem' of a policy must be a whole number from 0 to 3\. It is not there"),
        ({"level:stem": 4}, r"from 0 to 3\. Got 4"),
        ({"level:stem": 0.5}, r"from 0 to 3\. Got 0\.5"),
        ({"level:stem": 1, "method:stem": "x"}, r"one of channel.l1, channel.taylor\. Got 'x'"),
    ],
)
def test_parameters_that_are_no_policy_are_refused(
    prunable: Prunable, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        prunable.policy(given)


def test_a_policy_of_another_model_is_refused(prunable: Prunable) -> None:
    for policy, message in (
        (Policy({"sten": Choice("channel.l1", 0.5)}), r"'sten', .* Did you mean 'stem'\?"),
        (Policy({"stem": Choice("channel.l2", 0.5)}), r"'stem' by 'channel.l2'\. Allowed here"),
    ):
        for use in (prunable.apply, prunable.costs):
            with pytest.raises(ConfigError, match=message):
                use(policy)


def test_what_cannot_be_prunable_is_refused(net: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"needs the inputs of one forward, or a task"):
        autoprune.prunable(net, budget="macs=50%", space=WEIGHTS_ONLY)
    with pytest.raises(BudgetError, match=r"must be measured again.*Use autoprune.search"):
        autoprune.prunable(net, IMAGES, budget="latency=50%@pytorch", space=WEIGHTS_ONLY)
    with pytest.raises(ConfigError, match=r"seed must be"):
        autoprune.prunable(net, IMAGES, budget="macs=50%", space=WEIGHTS_ONLY, seed=-1)
    found = autoprune.prunable(net, IMAGES, budget="macs=50%", space=WEIGHTS_ONLY)
    with pytest.raises(ConfigError, match=r"Unknown sampler 'budgetted'\. Did you mean"):
        found.sampler("budgetted")


def test_pickled_it_prunes_alike(prunable: Prunable) -> None:
    other = pickle.loads(pickle.dumps(prunable))
    policy = pickle.loads(pickle.dumps(Policy({"stem": Choice("channel.taylor", 0.5)})))
    assert torch.equal(other.apply(policy)(IMAGES), prunable.apply(policy)(IMAGES))
    assert other.costs(policy) == prunable.costs(policy)
    first, second = (
        one.suggest(optuna.create_study(sampler=one.sampler()).ask()) for one in (prunable, other)
    )
    assert first == second
