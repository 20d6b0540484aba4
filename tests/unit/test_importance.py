"""Which gradients a method is given, and what is refused of what it gives."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoprune.core.policy import Choice, Policy
from autoprune.core.registry import Registry
from autoprune.errors import ConfigError
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.methods import Criterion, ElementCriterion, method, method_names
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan
from autoprune.tasks import Classification
from autoprune.tasks.chunks import chunks


@pytest.mark.parametrize(
    ("samples", "size", "expected"),
    [
        (8, 8, [8]),
        (8, 9, [8]),
        (9, 8, [4, 5]),
        (10, 3, [2, 3, 2, 3]),
        (1, 4, [1]),
        (3, 1, [1] * 3),
    ],
)
def test_parts_are_even_and_lose_nothing(samples: int, size: int, expected: list[int]) -> None:
    images, classes = torch.randn(samples, 2), torch.arange(samples)
    parts = chunks((images, classes), samples, size)
    assert [len(part[0]) for part in parts] == expected
    assert all(type(part) is tuple for part in parts)
    for number, whole in enumerate((images, classes)):
        assert torch.equal(torch.cat([part[number] for part in parts]), whole)


def test_lists_of_samples_and_mappings_are_cut_too() -> None:
    boxes = [{"boxes": torch.full((n, 4), float(n))} for n in range(4)]
    images = [torch.randn(3, size, 5) for size in range(4)]
    first, last = chunks([images, boxes], 4, 2)
    assert first == [images[:2], boxes[:2]]
    assert last == [images[2:], boxes[2:]]
    keyed = {"image": torch.arange(4), "more": {"class": torch.arange(4)}}
    last = chunks(keyed, 4, 2)[1]
    assert last["image"].tolist() == last["more"]["class"].tolist() == [2, 3]


@pytest.mark.parametrize("extra", ["text", torch.tensor(1.0), torch.ones(3), 4, None])
def test_a_batch_with_something_else_stays_whole(extra: Any) -> None:
    batch = (torch.arange(4), extra)
    assert chunks(batch, 4, 2) == [batch]


def test_a_pair_of_two_samples_is_no_list_of_samples() -> None:
    images, classes = torch.arange(2), torch.arange(2)
    parts = chunks((images, classes), 2, 1)
    assert [(x.tolist(), y.tolist()) for x, y in parts] == [([0], [0]), ([1], [1])]


@dataclass
class Fake(Criterion):
    """Notes what it gets."""

    needs_gradients: bool = True
    chunk: int | None = None
    paper: str = "none"
    result: torch.Tensor | None = None
    seen: list[float] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)

    def score(
        self, unit: Any, weights: Any, gradients: Any, rng: np.random.Generator
    ) -> torch.Tensor:
        if unit.name == "inner":
            self.seen.append(float(gradients["head.bias"].sum()) if gradients else 0.0)
            self.drawn.append(int(rng.integers(10**9)))
        return torch.ones(unit.atoms) if self.result is None else self.result


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Registry[Criterion]:
    registry: Registry[Criterion] = Registry("criterion")
    monkeypatch.setattr(method, "CRITERIA", registry)
    return registry


def test_each_method_gets_gradients_of_as_many_samples_as_it_wants(
    net: nn.Module, plan: Plan, task: Classification, fakes: Registry[Criterion]
) -> None:
    wanted = {"whole": None, "more": 99, "three": 3, "plain": None}
    made = {name: Fake(name != "plain", chunk) for name, chunk in wanted.items()}
    for name, fake in made.items():
        fakes.add(name, fake)
    found = rank_atoms(net, plan, task, [f"channel.{name}" for name in made], 2, "cpu")
    calls = {name: len(fake.seen) for name, fake in made.items()}
    assert calls == {"whole": 2, "more": 2, "three": 6, "plain": 1}
    assert found.samples == 32  # both batches, once whole and once in parts


def test_random_numbers_depend_on_seed_method_and_unit(
    net: nn.Module, plan: Plan, task: Classification, fakes: Registry[Criterion]
) -> None:
    one, other = fakes.add("one", Fake()), fakes.add("other", Fake())
    assert isinstance(one, Fake)
    assert isinstance(other, Fake)
    for seed in (0, 0, 1):
        rank_atoms(net, plan, task, ["channel.one", "channel.other"], 2, "cpu", seed)
    first, second, third, fourth, *seeded = one.drawn
    assert (first, second) == (third, fourth)
    assert len({first, second, *seeded, *other.drawn[:2]}) == 6


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (torch.ones(3), r"Got shape \(3,\)\."),
        (torch.tensor(1.0), r"Got shape \(\)\."),
        (torch.tensor([1.0] * 7 + [float("nan")]), r"Got shape \(8,\) with 1 NaN or infinite"),
    ],
)
def test_scores_that_are_no_scores_are_refused(
    net: nn.Module,
    plan: Plan,
    task: Classification,
    fakes: Registry[Criterion],
    result: torch.Tensor,
    message: str,
) -> None:
    fakes.add("odd", Fake(result=result))
    with pytest.raises(ConfigError, match=rf"'odd' \(autoprune\).* 8 atoms of 'stem'.*{message}"):
        rank_atoms(net, plan, task, ["channel.odd"], 1, "cpu")


@dataclass
class FakeElements(Fake, ElementCriterion):
    """Notes which tensors it is asked about, and whether with a gradient."""

    kinds: Any = ("channel", "weights")
    asked: list[tuple[tuple[int, ...], bool]] = field(default_factory=list)
    answer: float = 1.0

    def elements(
        self, weight: torch.Tensor, gradient: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        self.asked.append((tuple(weight.shape), bool(gradient.any())))
        self.drawn.append(int(rng.integers(10**9)))
        return torch.full_like(weight, self.answer)


LAYERS = ("stem.weight", "inner.weight", "outer.weight", "head.weight")


@pytest.mark.parametrize("graded", [True, False])
def test_single_weights_are_ranked_once_for_all_methods_of_a_criterion(
    net: nn.Module, plan: Plan, task: Classification, fakes: Registry[Criterion], graded: bool
) -> None:
    fake = FakeElements(graded)
    fakes.add("odd", fake)
    found = rank_atoms(net, plan, task, ["unstructured.odd", "2:4.odd"], 2, "cpu")
    shapes = [tuple(net.get_parameter(name).shape) for name in LAYERS]
    times = 2 if graded else 1
    assert fake.asked == [(shape, graded) for _ in range(times) for shape in shapes]
    assert fake.seen == []  # no atom was ranked
    (scores,) = found.elements.values()
    assert list(scores) == list(LAYERS)
    for name, score in scores.items():
        assert torch.equal(score, torch.full_like(net.get_parameter(name), float(times)))
    assert found.removed(Policy({"stem.weight": Choice("2:4.odd", 0.5)})) == {}


def test_scores_of_elements_that_are_no_scores_are_refused(
    net: nn.Module, plan: Plan, task: Classification, fakes: Registry[Criterion]
) -> None:
    fakes.add("odd", FakeElements(answer=float("inf")))
    message = r"'odd' \(autoprune\).*elements, shape \(8, 1, 3, 3\), of 'stem\.weight'.*72 NaN"
    with pytest.raises(ConfigError, match=message):
        rank_atoms(net, plan, task, ["2:4.odd"], 1, "cpu")


def test_every_method_ranks_every_unit_of_its_kind(
    net: nn.Module, plan: Plan, task: Classification
) -> None:
    names = list(method_names())
    found = rank_atoms(net, plan, task, names, 1, "cpu")
    for name in names:
        if name.startswith("channel."):
            removed = found.removed(Policy({unit: Choice(name, 0.5) for unit in plan.units}))
            counts = {unit: len(atoms) for unit, atoms in removed.items()}
            assert counts == {"stem": 4, "inner": 6}
    assert {key for key in found.elements} == {
        f"weights.{name}"
        for name in ("l1", "l2", "gradient", "gradient_norm", "taylor", "fisher", "random")
    }


class Halves(nn.Module):
    """Attention of heads, in a residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = nn.Linear(36, 8), _Attention(), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.block(self.stem(x.flatten(1))[:, None])).mean(1)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 12) for _ in range(3))
        self.scale = nn.Parameter(torch.rand(3, 1, 1))
        self.out = nn.Linear(12, 8)

    def forward(self, x: torch.Tensor) -> Any:
        parts = (
            layer(x).unflatten(-1, (len(self.scale), -1)) for layer in (self.q, self.k, self.v)
        )
        q, k, v = (part.transpose(1, 2) for part in parts)
        mixed = (q @ k.transpose(2, 3) * self.scale) @ v
        return x + self.out(mixed.transpose(1, 2).flatten(2))


def test_heads_and_blocks_are_ranked_by_methods_of_their_kind_alone(task: Classification) -> None:
    torch.manual_seed(0)
    model = Halves().eval()
    images, _ = next(task.batches("search"))
    plan = discover(model, [images[:2]], np.random.default_rng(0))
    assert sorted(plan.kinds[name] for name in plan.units) == ["block", *["channel"] * 3, "head"]
    found = rank_atoms(model, plan, task, ["channel.l1", "head.l1", "block.drop"], 1, "cpu")
    (head,), (block,) = plan.of("head"), plan.of("block")
    (weakest,) = found.removed(Policy({head: Choice("head.l1", 1 / 3)}))[head]
    layers = ("q", "k", "v")
    sizes = sum(model.get_parameter(f"block.{n}.weight").abs().view(3, -1).sum(1) for n in layers)
    assert isinstance(sizes, torch.Tensor)
    assert int(weakest) == int(sizes.argmin())
    assert found.removed(Policy({block: Choice("block.drop", 1.0)}))[block].tolist() == [0]
    for unit, name in ((head, "channel.l1"), (block, "head.l1")):
        with pytest.raises(KeyError):
            found.removed(Policy({unit: Choice(name, 0.5)}))
