"""The public functions about what can be pruned of a model, and what a search space allows."""

import numpy as np
from torch import nn

from autoprune._given import space_of
from autoprune.core.fingerprint import check_seed
from autoprune.reporting.inventory import Inventory, inventory
from autoprune.reporting.space_check import SpaceCheck, space_check
from autoprune.space.schema import SearchSpace
from autoprune.surgery.accept import taken_out
from autoprune.surgery.discover import discover
from autoprune.surgery.nested import Inputs


def units(model: nn.Module, inputs: Inputs, *, seed: int = 0) -> Inventory:
    """Trace a model, verify its units and list what can be pruned and what cannot, and why.

    Args:
        model: The model, on the CPU; it is left as it is.
        inputs: Positional arguments of one forward, or a mapping of keyword arguments, on the
            CPU.
        seed: Seed of the random masks that units are verified with.

    Raises:
        ConfigError: If the seed is none.
        ModelError: If the forward raises or nothing can be pruned.
    """
    check_seed(seed)
    model = taken_out(model)
    return inventory(model, discover(model, inputs, np.random.default_rng(seed)))


def check_space(
    space: str | SearchSpace, model: nn.Module, inputs: Inputs, *, seed: int = 0
) -> SpaceCheck:
    """Tell what a search space allows for each unit of a model.

    Args:
        space: A shipped search space, ``"file:PATH"``, or the object.
        model: The model, on the CPU; it is left as it is.
        inputs: Positional arguments of one forward, or a mapping of keyword arguments, on the
            CPU.
        seed: Seed of the random masks that units are verified with.

    Raises:
        ConfigError: If there is no such space, a pattern matches no unit, a method is unknown,
            or the seed is none.
        ModelError: If the forward raises or nothing can be pruned.
    """
    check_seed(seed)
    found = space_of(space)
    return space_check(found, discover(model, inputs, np.random.default_rng(seed)))
