"""Sums of what criteria say, over the calibration batches."""

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import torch

from autoprune.errors import ConfigError
from autoprune.methods import ElementCriterion, Method
from autoprune.methods.base import Tensors
from autoprune.surgery.plan import Plan

Answer = tuple[str, tuple[int, ...], torch.Tensor]


class Totals:
    """Sums of the scores so far, by method and by what is ranked.

    Args:
        plan: The units.
        weights: Every parameter and buffer by name.
        seed: Decides what criteria draw at random.
    """

    def __init__(self, plan: Plan, weights: Tensors, seed: int) -> None:
        self._plan, self._weights, self._seed = plan, weights, seed
        self._tensors = {name: None for unit in plan.weights.values() for name in unit.members}
        self._sums: dict[str, dict[str, torch.Tensor]] = {}
        self._rngs: dict[tuple[str, str], np.random.Generator] = {}

    def add(self, methods: Mapping[str, Method], gradients: Tensors) -> None:
        """Ask the criterion of each method, by key, once more about all it can rank.

        Raises:
            ConfigError: If an answer is not one finite number for each atom or element.
        """
        for key, method in methods.items():
            sums = self._sums.setdefault(key, {})
            ask = self._atoms if method.removes else self._elements
            for name, shape, score in ask(key, method, gradients):
                _check(score, shape, method, name)
                sums[name] = sums[name] + score if name in sums else score

    def of(self, key: str) -> dict[str, torch.Tensor]:
        """Return the sums of one method by unit, or by tensor if it ranks single weights."""
        return self._sums.get(key, {})

    def _atoms(self, key: str, method: Method, gradients: Tensors) -> Iterator[Answer]:
        for unit in self._plan.units.values():
            if unit.kind == method.structure.kind:
                rng = self._rng(key, unit.name)
                score = method.criterion.score(unit, self._weights, gradients, rng)
                yield unit.name, (unit.atoms,), score

    def _elements(self, key: str, method: Method, gradients: Tensors) -> Iterator[Answer]:
        criterion = method.criterion
        assert isinstance(criterion, ElementCriterion)
        for name in self._tensors:
            weight = _single(self._weights[name])
            known = name in gradients
            gradient = _single(gradients[name]) if known else torch.zeros_like(weight)
            score = criterion.elements(weight, gradient, self._rng(key, name))
            yield name, tuple(weight.shape), score

    def _rng(self, key: str, name: str) -> np.random.Generator:
        return self._rngs.setdefault((key, name), _generator(self._seed, key, name))


def _single(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in single precision at least."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))


def _generator(seed: int, method: str, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{method} {name}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def _check(score: torch.Tensor, shape: tuple[int, ...], method: Method, name: str) -> None:
    if score.shape != shape or not bool(torch.isfinite(score).all()):
        what = f"{shape[0]} atoms" if method.removes else f"elements, shape {shape},"
        raise ConfigError(
            f"The criterion {method.criterion_name!r} ({method.origin}) must give a finite number "
            f"for each of the {what} of {name!r}. Got {_describe(score)}. Check that weights and "
            "training loss are finite, or choose another method."
        )


def _describe(score: torch.Tensor) -> str:
    odd = int((~torch.isfinite(score)).sum())
    return f"shape {tuple(score.shape)}" + (f" with {odd} NaN or infinite" if odd else "")
