"""What a study says of itself, so that people and dashboards can read its parameters."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import optuna

from autoprune.space.schema import UnitSpace

if TYPE_CHECKING:
    from autoprune.agent.feasible.projection import Projection

TIGHTENED = "tightened"  # user attribute of a study: limits that are aimed at, see `Inside`
MEASURED = "measured"  # user attribute of a study: what was measured of policies, see `Inside`
AT = " at "  # between those names and the limit, where there are several
UNITS = "units"  # user attribute of a study: what may be chosen for each unit
DENSE = "dense"  # user attribute of a study: costs of the dense model, by name
_FACTS = {"atoms", "methods", "kept"}


def describe(study: optuna.Study, projection: "Projection") -> None:
    """Keep in the study what its levels stand for and what the dense model costs, once."""
    known = study.user_attrs
    if UNITS in known and DENSE in known:
        return
    units = {
        name: {"atoms": one.atoms, "methods": list(one.methods), "kept": list(one.kept)}
        for name, one in projection.spaces.items()
    }
    study.set_user_attr(UNITS, units)
    study.set_user_attr(DENSE, projection.cost.dense.as_dict())


def spaces_told(attributes: Mapping[str, Any]) -> dict[str, UnitSpace]:
    """Return what may be chosen for each unit, by the user attributes of a study.

    It is empty for a study of somebody else, or of an autoprune that did not say it yet.
    """
    said = attributes.get(UNITS)
    if not isinstance(said, dict) or not all(
        isinstance(one, dict) and one.keys() == _FACTS for one in said.values()
    ):
        return {}
    return {
        name: UnitSpace(name, int(one["atoms"]), tuple(one["methods"]), tuple(one["kept"]))
        for name, one in said.items()
    }


def measured_told(attributes: Mapping[str, Any]) -> list[dict[str, dict[str, Any]]]:
    """Return what was measured of policies, by fingerprint and cost, for each limit there is."""
    if not spaces_told(attributes):
        return []
    return [one for name, one in attributes.items() if is_of_measured(name)]


def is_of_measured(name: str) -> bool:
    """Tell whether a user attribute of a study is what was measured of policies for a limit."""
    return name == MEASURED or name.startswith(MEASURED + AT)


def dense_told(attributes: Mapping[str, Any]) -> dict[str, float]:
    """Return the costs of the dense model by the user attributes of a study; empty as above."""
    said = attributes.get(DENSE)
    return dict(said) if isinstance(said, dict) and UNITS in attributes else {}
