"""What every method promises; built-in ones pass the same tests."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from autoprune.methods import Criterion
from autoprune.surgery.units import Unit
from autoprune.testing.models import Case, attention, residual

Scores = torch.Tensor


class MethodContract:
    """Subclass it, return your method from `make`, and let pytest collect the subclass.

    >>> class TestMine(MethodContract):
    ...     def make(self) -> Criterion:
    ...         return Mine()

    Attributes:
        draws: Whether the method orders atoms by random numbers alone.
    """

    draws = False

    def make(self) -> Criterion:
        """Return the method."""
        raise NotImplementedError

    def scores(
        self, case: Case, unit: Unit, weights: Mapping[str, torch.Tensor] | None = None
    ) -> Scores:
        """Return the method's scores of one unit of a test model, ``[atoms]``."""
        method, rng = self.make(), np.random.default_rng(0)
        gradients = case.gradients if method.needs_gradients else {}
        return method.score(unit, case.weights if weights is None else weights, gradients, rng)

    def test_it_says_what_it_is(self) -> None:
        method = self.make()
        assert isinstance(method.needs_gradients, bool), "needs_gradients must be True or False"
        assert method.chunk is None or method.chunk >= 1, "chunk must be None or at least 1"
        assert method.chunk is None or method.needs_gradients, "chunk is for gradients"
        assert method.paper.strip(), "paper must say where the idea comes from"

    def test_there_is_one_finite_double_for_each_atom(self) -> None:
        for case in (residual(), attention()):
            for unit in case.units:
                scores = self.scores(case, unit)
                assert scores.shape == (unit.atoms,), f"{unit.name}: {tuple(scores.shape)}"
                assert scores.dtype == torch.float64, f"{unit.name}: {scores.dtype}"
                assert bool(torch.isfinite(scores).all()), f"{unit.name}: {scores}"
                assert not scores.requires_grad, f"{unit.name}: still in autograd's graph"

    def test_atoms_that_differ_score_differently(self) -> None:
        for case in (residual(), attention()):
            for unit in case.units:
                distinct = self.scores(case, unit).unique().numel()
                assert distinct == unit.atoms, f"{unit.name}: {distinct} scores"

    def test_scores_repeat(self) -> None:
        case = residual()
        for unit in case.units:
            assert torch.equal(self.scores(case, unit), self.scores(case, unit)), unit.name

    def test_the_order_of_channels_in_the_tensors_does_not_matter(self) -> None:
        case = residual()
        for unit in () if self.draws else case.units:
            order = np.random.default_rng(3).permutation(unit.atoms)
            moved = self.scores(case.permuted(unit, order), unit)
            expected = self.scores(case, unit)[torch.from_numpy(order)]
            assert torch.allclose(moved, expected, rtol=1e-4, atol=1e-9), unit.name

    def test_the_order_of_atoms_in_the_unit_does_not_matter(self) -> None:
        case = residual()
        for unit in () if self.draws else case.units:
            order = np.random.default_rng(4).permutation(unit.atoms)
            parts = tuple(replace(part, index=part.index[order]) for part in unit.slices)
            moved = self.scores(case, replace(unit, slices=parts))
            expected = self.scores(case, unit)[torch.from_numpy(order)]
            assert torch.allclose(moved, expected, rtol=1e-9), unit.name

    def test_scoring_changes_neither_weights_nor_gradients(self) -> None:
        case = residual()
        before = [t.detach().clone() for t in (*case.weights.values(), *case.gradients.values())]
        for unit in case.units:
            self.scores(case, unit)
        after = [*case.weights.values(), *case.gradients.values()]
        assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
        assert all(weight.grad is None for weight in case.weights.values()), "a grad was set"

    def test_random_numbers_come_from_the_generator_alone(self) -> None:
        case = residual()
        torch_state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=False)
        for unit in case.units:
            self.scores(case, unit)
        assert torch.equal(torch.get_rng_state(), torch_state), "torch's own generator was used"
        assert str(np.random.get_state(legacy=False)) == str(numpy_state), "numpy's own generator"

    def test_half_precision_weights_are_scored_in_double(self) -> None:
        for dtype in (torch.float16, torch.bfloat16):
            case = residual().to(dtype)
            for unit in case.units:
                scores, expected = (
                    self.scores(case, unit),
                    self.scores(case.to(torch.float64), unit),
                )
                assert scores.dtype == torch.float64, f"{unit.name}: {scores.dtype}"
                assert torch.allclose(scores, expected, rtol=0.05, atol=1e-5), unit.name

    def test_all_zero_weights_are_no_trouble(self) -> None:
        case = residual().zero()
        for unit in case.units:
            assert bool(torch.isfinite(self.scores(case, unit)).all()), unit.name
