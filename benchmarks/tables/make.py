"""Make a table: train, list the policies, score each; what is done survives a kill."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file

from autoprune.core.fingerprint import fingerprint
from autoprune.core.policy import Policy
from autoprune.evaluation.scoring.scorer import Scorer
from benchmarks.images import Splits
from benchmarks.provenance import code_of, commit, machine
from benchmarks.tables.network import Network, train
from benchmarks.tables.policies import Codes, maximal, policy_of
from benchmarks.tables.recipes import Recipe
from benchmarks.tables.state import State
from benchmarks.tables.table import Table

Watch = Callable[[Sequence[Any], str], Iterator[Any]]
BEST = 50  # policies by loss, and as many by quality, that every seed scores
AT_RANDOM = 0.1  # share of the others that every seed scores
_CODE = (
    "autoprune",
    "benchmarks/images.py",
    "benchmarks/tables/network.py",
    "benchmarks/tables/recipes.py",
)


@dataclass(frozen=True)
class Maker:
    """Scores policies once each; what is in the state is not scored again.

    Args:
        network: The trained network.
        scorer: Its scorer, with the recipe's first seed.
        state: What was scored already.
    """

    network: Network
    scorer: Scorer
    state: State

    def score(self, policy: Policy, steps: int, seed: int) -> Mapping[str, float]:
        """Return ``loss``, ``quality``, ``forwards`` and ``seconds``."""
        key = f"{policy.fingerprint[:16]}/{steps}/{seed}"
        found = self.state.get(key)
        if found is None:
            _, score = replace(self.scorer, seed=seed).score(policy, steps)
            assert score.loss is not None  # nothing stops it
            assert score.quality is not None
            found = self.state.put(
                key,
                loss=score.loss,
                quality=score.quality,
                forwards=score.sample_forwards,
                seconds=score.seconds,
            )
        return found

    def share(self, policy: Policy) -> float:
        """Return the policy's MACs as a share of the dense network's."""
        cost = self.scorer.cost
        return cost.price(self.scorer.kept(policy)).macs / cost.dense.macs


def make(recipe: Recipe, folder: Path, watch: Watch, most: int | None = None) -> Table:
    """Return the table of a recipe.

    Args:
        recipe: The recipe.
        folder: Where weights and scores are kept meanwhile.
        watch: Shows a person how far a loop is.
        most: Take so many policies, drawn at random; None for all.
    """
    identity = fingerprint([recipe.settings(), code_of(*_CODE)])
    network, splits = Network.of(recipe), recipe.data()
    _trained(network, splits, folder / f"{recipe.name}.{identity[:12]}.safetensors")
    state = State(folder / f"{recipe.name}.jsonl", identity)
    maker = Maker(network, network.scorer(splits), state)
    levels, codes = maximal(network.projection)
    if most is not None and most < len(levels):
        drawn = np.random.default_rng(0).choice(len(levels), most, replace=False)
        levels, codes = levels[drawn], codes[drawn]
    return Table(
        levels=levels,
        codes=codes,
        **_scored(maker, levels, codes, watch),
        **_singles(maker, watch),
        weights=network.model.state_dict(),
        facts=_facts(maker),
    )


def _trained(network: Network, splits: Splits, file: Path) -> None:
    """Load the weights from ``file``; train and write them if it is not there."""
    if file.is_file():
        network.model.load_state_dict(load_file(file))
        return
    train(network.model, splits, network.recipe.epochs)
    partial = file.with_suffix(".partial")
    save_file(network.model.state_dict(), partial)
    partial.replace(file)


def _scored(maker: Maker, levels: Codes, codes: Codes, watch: Watch) -> dict[str, Any]:
    network, recipe = maker.network, maker.network.recipe
    steps, first, others = recipe.recovery.steps_of_scores, recipe.seeds[0], recipe.seeds[1:]
    rows = zip(levels, codes, strict=True)
    policies = [policy_of(network.spaces, *row) for row in rows]
    shape = (len(policies), len(recipe.seeds))
    loss, quality = (np.full(shape, np.nan, np.float32) for _ in range(2))
    forwards = np.zeros(len(policies), np.float32)
    for at in watch(range(len(policies)), "policies"):
        found = maker.score(policies[at], steps, first)
        loss[at, 0], quality[at, 0] = found["loss"], found["quality"]
        forwards[at] = found["forwards"]
    again = _scored_again(loss[:, 0], quality[:, 0])
    for at in watch(again, "other seeds"):
        for column, seed in enumerate(others, 1):
            found = maker.score(policies[at], steps, seed)
            loss[at, column], quality[at, column] = found["loss"], found["quality"]
    share = np.array([maker.share(policy) for policy in policies], np.float32)
    return {"loss": loss, "quality": quality, "forwards": forwards, "share": share}


def _scored_again(loss: Any, quality: Any) -> list[int]:
    """Return the rows that every seed scores: the best of either kind, and some at random."""
    count = round(AT_RANDOM * len(loss))
    drawn = np.random.default_rng(1).choice(len(loss), count, replace=False)
    best = np.argsort(loss)[:BEST], np.lexsort((loss, -quality))[:BEST]
    return sorted({int(at) for rows in (drawn, *best) for at in rows})


def _singles(maker: Maker, watch: Watch) -> dict[str, Any]:
    """Return each unit alone at each level and method, before and after the score's training."""
    recipe, spaces = maker.network.recipe, maker.network.spaces
    rows = [
        (number, level, code)
        for number, space in enumerate(spaces.values())
        for level in range(1, space.levels)
        for code in range(len(space.methods))
    ]
    names = list(spaces)
    found, share = [], []
    for number, level, code in watch(rows, "single units"):
        space = spaces[names[number]]
        policy = Policy({names[number]: space.choice(space.methods[code], level)})
        found.append(_before_and_after(maker, policy, recipe))
        share.append(maker.share(policy))
    scores = np.array(found, np.float32)
    return {
        "single": np.array(rows, np.uint8),
        "single_share": np.array(share, np.float32),
        "single_loss": scores[:, :, 0],
        "single_quality": scores[:, :, 1],
    }


def _before_and_after(maker: Maker, policy: Policy, recipe: Recipe) -> list[tuple[float, float]]:
    both = (0, recipe.recovery.steps_of_scores)
    found = [maker.score(policy, steps, recipe.seeds[0]) for steps in both]
    return [(one["loss"], one["quality"]) for one in found]


def _facts(maker: Maker) -> dict[str, Any]:
    network, recipe = maker.network, maker.network.recipe
    dense = _before_and_after(maker, Policy({}), recipe)
    costs = network.projection.cost.dense
    return {
        "units": list(network.spaces),
        "kept": {unit: list(space.kept) for unit, space in network.spaces.items()},
        "methods": list(recipe.methods),
        "settings": recipe.settings(),
        "dense": {
            "macs": costs.macs,
            "params": costs.params,
            "loss": [loss for loss, _ in dense],
            "quality": [quality for _, quality in dense],
        },
        "seconds": round(maker.state.total("seconds"), 1),
        "machine": machine(),
        "commit": commit(),
    }
