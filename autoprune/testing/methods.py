"""What every criterion of a method promises; built-in ones pass the same tests."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from autoprune.methods import Criterion, ElementCriterion
from autoprune.surgery.units import KINDS, Unit
from autoprune.testing.models import Case, attention, blocks, heads, residual

Scores = torch.Tensor
CASES: tuple[Callable[[], Case], ...] = (residual, attention, heads, blocks)


class MethodContract:
    """Subclass it, return your criterion from `make`, and let pytest collect the subclass.

    >>> class TestMine(MethodContract):
    ...     def make(self) -> Criterion:
    ...         return Mine()

    Attributes:
        draws: Whether the criterion orders atoms by random numbers alone.
    """

    draws = False

    def make(self) -> Criterion:
        """Return the criterion."""
        raise NotImplementedError

    def scores(
        self, case: Case, unit: Unit, weights: Mapping[str, torch.Tensor] | None = None
    ) -> Scores:
        """Return the criterion's scores of one unit of a test model, ``[atoms]``."""
        method, rng = self.make(), np.random.default_rng(0)
        gradients = case.gradients if method.needs_gradients else {}
        return method.score(unit, case.weights if weights is None else weights, gradients, rng)

    def units(self, case: Case) -> list[Unit]:
        """Return the units of a test model whose atoms the criterion ranks."""
        return [u for u in case.units if u.kind in self.make().kinds and u.kind != "weights"]

    def elements(self, case: Case) -> Iterator[tuple[torch.Tensor, torch.Tensor, Scores]]:
        """Yield weight, gradient and the scores of its elements; nothing if it ranks none."""
        method = self.make()
        if isinstance(method, ElementCriterion):
            for unit in case.units:
                for name in unit.members if unit.kind == "weights" else ():
                    weight, gradient = case.weights[name].detach(), case.gradients[name]
                    given = gradient if method.needs_gradients else torch.zeros_like(weight)
                    scores = method.elements(weight, given, np.random.default_rng(0))
                    yield weight, given, scores

    def test_it_says_what_it_is(self) -> None:
        method = self.make()
        kinds = set(method.kinds)
        assert kinds, "kinds must name at least one kind of unit"
        assert kinds <= set(KINDS), f"kinds must be of {KINDS}"
        able = isinstance(method, ElementCriterion)
        assert able == ("weights" in kinds), "what ranks weights has a method elements"
        assert isinstance(method.needs_gradients, bool), "needs_gradients must be True or False"
        assert method.chunk is None or method.chunk >= 1, "chunk must be None or at least 1"
        assert method.chunk is None or method.needs_gradients, "chunk is for gradients"
        assert method.paper.strip(), "paper must say where the idea comes from"

    def test_there_is_one_finite_double_for_each_atom(self) -> None:
        for case in (make() for make in CASES):
            for unit in self.units(case):
                scores = self.scores(case, unit)
                assert scores.shape == (unit.atoms,), f"{unit.name}: {tuple(scores.shape)}"
                assert scores.dtype == torch.float64, f"{unit.name}: {scores.dtype}"
                assert bool(torch.isfinite(scores).all()), f"{unit.name}: {scores}"
                assert not scores.requires_grad, f"{unit.name}: still in autograd's graph"

    def test_atoms_that_differ_score_differently(self) -> None:
        for case in (make() for make in CASES):
            for unit in self.units(case):
                distinct = self.scores(case, unit).unique().numel()
                assert distinct == unit.atoms, f"{unit.name}: {distinct} scores"

    def test_scores_repeat(self) -> None:
        case = residual()
        for unit in self.units(case):
            assert torch.equal(self.scores(case, unit), self.scores(case, unit)), unit.name

    def test_the_order_of_channels_in_the_tensors_does_not_matter(self) -> None:
        case = residual()
        for unit in () if self.draws else self.units(case):
            order = np.random.default_rng(3).permutation(unit.atoms)
            moved = self.scores(case.permuted(unit, order), unit)
            expected = self.scores(case, unit)[torch.from_numpy(order)]
            assert torch.allclose(moved, expected, rtol=1e-4, atol=1e-9), unit.name

    def test_the_order_of_atoms_in_the_unit_does_not_matter(self) -> None:
        case = residual()
        for unit in () if self.draws else self.units(case):
            order = np.random.default_rng(4).permutation(unit.atoms)
            parts = tuple(replace(part, index=part.index[order]) for part in unit.slices)
            moved = self.scores(case, replace(unit, slices=parts))
            expected = self.scores(case, unit)[torch.from_numpy(order)]
            assert torch.allclose(moved, expected, rtol=1e-9), unit.name

    def test_scoring_changes_neither_weights_nor_gradients(self) -> None:
        case = residual()
        before = [t.detach().clone() for t in (*case.weights.values(), *case.gradients.values())]
        for unit in self.units(case):
            self.scores(case, unit)
        after = [*case.weights.values(), *case.gradients.values()]
        assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
        assert all(weight.grad is None for weight in case.weights.values()), "a grad was set"

    def test_random_numbers_come_from_the_generator_alone(self) -> None:
        case = residual()
        torch_state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=False)
        for unit in self.units(case):
            self.scores(case, unit)
        assert torch.equal(torch.get_rng_state(), torch_state), "torch's own generator was used"
        assert str(np.random.get_state(legacy=False)) == str(numpy_state), "numpy's own generator"

    def test_half_precision_weights_are_scored_in_double(self) -> None:
        for dtype in (torch.float16, torch.bfloat16):
            case = residual().to(dtype)
            for unit in self.units(case):
                scores, expected = (
                    self.scores(case, unit),
                    self.scores(case.to(torch.float64), unit),
                )
                assert scores.dtype == torch.float64, f"{unit.name}: {scores.dtype}"
                assert torch.allclose(scores, expected, rtol=0.05, atol=1e-5), unit.name

    def test_all_zero_weights_are_no_trouble(self) -> None:
        case = residual().zero()
        for unit in self.units(case):
            assert bool(torch.isfinite(self.scores(case, unit)).all()), unit.name

    def test_there_is_one_finite_score_for_each_element(self) -> None:
        for weight, _, scores in self.elements(residual()):
            assert scores.shape == weight.shape, f"{tuple(scores.shape)}"
            assert scores.dtype in (torch.float32, torch.float64), f"{scores.dtype}"
            assert bool(torch.isfinite(scores).all())
            assert not scores.requires_grad, "still in autograd's graph"

    def test_elements_that_differ_score_differently(self) -> None:
        for _, _, scores in self.elements(residual()):
            assert scores.unique().numel() > 0.9 * scores.numel()

    def test_scores_of_elements_repeat(self) -> None:
        pairs = zip(self.elements(residual()), self.elements(residual()), strict=True)
        assert all(torch.equal(one[2], other[2]) for one, other in pairs)

    def test_scoring_elements_changes_neither_weights_nor_gradients(self) -> None:
        case, untouched = residual(), residual()
        torch_state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=False)
        asked = len(list(self.elements(case)))
        for name, gradient in untouched.gradients.items():
            assert torch.equal(case.gradients[name], gradient), f"{name} after {asked} calls"
            assert torch.equal(case.weights[name], untouched.weights[name]), name
        assert torch.equal(torch.get_rng_state(), torch_state), "torch's own generator was used"
        assert str(np.random.get_state(legacy=False)) == str(numpy_state), "numpy's own generator"

    def test_all_zero_elements_are_no_trouble(self) -> None:
        for _, _, scores in self.elements(residual().zero()):
            assert bool(torch.isfinite(scores).all())
