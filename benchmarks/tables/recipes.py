"""What each table is made of: network, data, search space, budget, recovery."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from torch import nn

from autoprune.core.imports import load_object
from autoprune.core.recovery import Recovery
from benchmarks.images import EXAMPLES, Data, digits, fashion


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What one table is made of.

    Args:
        name: Its name; the file is ``benchmarks/tables/NAME.npz``.
        network: Builds the untrained network.
        data: Loads its data.
        side: Height and width of an image.
        epochs: How long the dense network is trained.
        budget: As `Budget.parse` reads it.
        sparsities: Those of every unit, beside 0.
        methods: Those of every unit.
        recovery: How a candidate is scored; ``score_steps`` may be 0.
        seeds: Seeds of the score; the first scores every policy.
    """

    name: str
    network: Callable[[], nn.Module]
    data: Data
    side: int
    epochs: int
    budget: str
    sparsities: tuple[float, ...]
    methods: tuple[str, ...] = ("channel.l1",)
    recovery: Recovery
    seeds: tuple[int, ...] = (0, 1, 2)

    def settings(self) -> dict[str, Any]:
        """Return what a reader may want to know, as plain JSON types."""
        return {
            "side": self.side,
            "epochs": self.epochs,
            "budget": self.budget,
            "sparsities": list(self.sparsities),
            "methods": list(self.methods),
            "recovery": self.recovery.to_dict(),
            "seeds": list(self.seeds),
        }


def chain(widths: tuple[int, ...], strides: tuple[int, ...]) -> nn.Module:
    """Return 3x3 convolutions with batch norm and ReLU one after the other, and a linear head."""
    net = nn.Sequential()
    for at, ((before, after), stride) in enumerate(
        zip(pairwise((1, *widths)), strides, strict=True), 1
    ):
        net.add_module(f"conv{at}", nn.Conv2d(before, after, 3, stride, padding=1, bias=False))
        net.add_module(f"norm{at}", nn.BatchNorm2d(after))
        net.add_module(f"relu{at}", nn.ReLU())
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flatten", nn.Flatten())
    net.add_module("head", nn.Linear(widths[-1], 10))
    return net


def residual(width: int) -> nn.Module:
    """Return the network of ``examples/digits``: a stem and three residual blocks."""
    net: nn.Module = load_object("model.py:resnet", base=EXAMPLES / "digits")(width=width)
    return net


# What was the default when the tables were made.
_AS_MADE: Mapping[str, Any] = {"reconstruct": False, "score_by": "loss"}
RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="digits_chain",
            network=partial(chain, (16, 16, 16, 24, 24, 32, 32), (1, 1, 1, 2, 1, 2, 1)),
            data=digits,
            side=8,
            epochs=12,
            budget="macs=40%",
            sparsities=(0.25, 0.375, 0.5, 0.75),
            recovery=Recovery(score_steps=0, calibration_batches=8, **_AS_MADE),
        ),
        Recipe(
            name="digits_residual",
            network=partial(residual, 12),
            data=partial(digits, batch_size=128),
            side=8,
            epochs=16,
            budget="macs=25%",
            sparsities=(0.25, 0.5, 0.625, 0.75, 0.875),
            # At 0.02, or with batches of 64, seeds disagree as much as the best policies do.
            recovery=Recovery(
                score_steps=20, learning_rate=0.005, calibration_batches=8, **_AS_MADE
            ),
        ),
        Recipe(
            name="fashion_methods",
            network=partial(chain, (12, 16, 24, 32, 32), (1, 2, 1, 2, 1)),
            data=fashion,
            side=14,
            epochs=4,
            budget="macs=40%",
            sparsities=(0.25, 0.5, 0.625, 0.75),
            methods=("channel.l1", "channel.taylor"),
            recovery=Recovery(score_steps=20, calibration_batches=8, **_AS_MADE),
        ),
    )
}
