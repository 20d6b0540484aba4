"""What a study says of its units, and what is read of it."""

import optuna
import pytest

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.housing.described import DENSE, UNITS, dense_told, describe, spaces_told
from autoprune.core.budget import Budget
from autoprune.cost.model import CostModel
from autoprune.space.schema import UnitSpace

pytestmark = pytest.mark.usefixtures("quiet_optuna")


def test_units_are_told_once_and_read_back(cost: CostModel, spaces: dict[str, UnitSpace]) -> None:
    study = optuna.create_study()
    describe(study, Projection(cost, spaces, Budget.parse("macs=90%")))
    assert spaces_told(study.user_attrs) == spaces
    assert dense_told(study.user_attrs) == cost.dense.as_dict()
    study.set_user_attr(DENSE, {"macs": 1})
    describe(study, Projection(cost, spaces, Budget.parse("macs=80%")))
    assert study.user_attrs[DENSE] == {"macs": 1}


@pytest.mark.parametrize(
    "attributes", [{}, {UNITS: 3}, {UNITS: {"u": 3}}, {UNITS: {"u": {"atoms": 3}}}, {DENSE: {}}]
)
def test_what_others_call_the_same_is_not_taken_for_it(attributes: dict[str, object]) -> None:
    assert spaces_told(attributes) == {}
    assert dense_told({DENSE: {"macs": 1}}) == {}
