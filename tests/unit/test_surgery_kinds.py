"""Heads and blocks as units, auxiliary heads, and detectors: found, cut and priced right."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoprune.cost.count import count_costs
from autoprune.cost.model import CostModel
from autoprune.errors import ModelError
from autoprune.surgery.apply import apply
from autoprune.surgery.blocks import PassThrough
from autoprune.surgery.compare import difference, outputs
from autoprune.surgery.discover import discover, plan_of
from autoprune.surgery.ids import IdTable
from autoprune.surgery.mask import Masked
from autoprune.surgery.plan import Plan
from autoprune.surgery.sizes import Owners
from autoprune.surgery.units import Slice, Unit
from autoprune.surgery.verify import random_atoms, sliced_equals_masked

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))


def found(model: nn.Module, *inputs: Any) -> Plan:
    return discover(model.eval(), inputs, np.random.default_rng(0))


class Attention(nn.Module):
    """Attention with a fused projection laid out as ``parts x heads x width``."""

    def __init__(self, heads: int, width: int, fused: bool = True) -> None:
        super().__init__()
        self.heads, self.width, inner = heads, width, heads * width
        self.qkv = nn.Linear(12, 3 * inner) if fused else None
        self.q, self.k, self.v = (nn.Linear(12, inner) for _ in range(3))
        self.bias = nn.Parameter(torch.randn(heads, 1, 1))
        self.out = nn.Linear(inner, 4)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(x).chunk(3, -1) if self.qkv else (self.q(x), self.k(x), self.v(x))
        width = parts[0].shape[-1] // self.bias.shape[0]
        q, k, v = (p.unflatten(-1, (-1, width)).transpose(1, 2) for p in parts)
        scores = (q @ k.transpose(-2, -1) + self.bias).softmax(-1)
        mixed: Tensor = self.out((scores @ v).transpose(1, 2).flatten(2))
        return mixed.mean(1)


@pytest.mark.parametrize(("heads", "width"), [(2, 6), (3, 4), (6, 4), (4, 4)])
@pytest.mark.parametrize("fused", [True, False])
def test_heads_and_their_width_are_units_of_one_attention(
    heads: int, width: int, fused: bool
) -> None:
    torch.manual_seed(0)
    model = Attention(heads, width, fused)
    plan = found(model, TOKENS)
    (head,) = plan.of("head").values()
    assert head.name.endswith(":heads")
    assert head.atoms == heads
    tensor = "qkv.weight" if fused else "q.weight"
    (rows,) = (p.index for p in head.slices if (p.tensor, p.dim) == (tensor, 0))
    parts = 3 if fused else 1
    expected = np.arange(parts * heads * width).reshape(parts, heads, width)[:, 1]
    assert sorted(rows[1].tolist()) == sorted(expected.ravel().tolist())
    assert {u.atoms for u in plan.of("channel").values()} == {width}
    assert "bias[0]" not in plan.sealed


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_heads_and_width_are_cut_and_priced_together(share: float) -> None:
    torch.manual_seed(0)
    model = Attention(3, 8)
    plan = found(model, TOKENS)
    rng = np.random.default_rng(1)
    gone = {name: random_atoms(unit.atoms, share, rng) for name, unit in plan.units.items()}
    assert sliced_equals_masked(model, plan, gone, [TOKENS]) < 1e-9
    kept = {name: plan.units[name].atoms - len(atoms) for name, atoms in gone.items()}
    pruned = apply(model, plan, gone)
    assert CostModel(model, plan).price(kept) == count_costs(pruned, [TOKENS], 2)


class Branch(nn.Module):
    """A residual block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, 6, 3, padding=1)
        self.b = nn.Conv2d(6, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.b(F.relu(self.a(x))))


class Blocks(nn.Module):
    """A stem, two residual blocks in a stage, what looks like a block but is none, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.stage = nn.Sequential(Branch(8), Branch(8))
        self.norm = nn.BatchNorm2d(8)
        self.same = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.same(self.norm(self.stage(F.relu(self.stem(x)))))
        return self.head(y.mean((2, 3)))  # type: ignore[no-any-return]


def test_the_innermost_modules_that_add_to_their_input_are_blocks() -> None:
    torch.manual_seed(0)
    plan = found(Blocks(), IMAGES)
    assert list(plan.of("block")) == ["stage.0:block", "stage.1:block"]
    assert all(unit.atoms == 1 for unit in plan.of("block").values())


def test_a_block_is_removed_as_if_its_branch_were_not_there() -> None:
    torch.manual_seed(0)
    model = Blocks().eval()
    plan = found(model, IMAGES)
    gone = {"stage.0:block": np.array([0])}
    pruned = apply(model, plan, gone)
    assert isinstance(pruned.get_submodule("stage.0"), PassThrough)
    assert {k for k in model.state_dict() if not k.startswith("stage.0.")} == set(
        pruned.state_dict()
    )
    twin = apply(model, plan, {})
    for parameter in twin.get_submodule("stage.0.b").parameters():
        parameter.data.zero_()
    assert difference(outputs(pruned, [IMAGES]), outputs(twin, [IMAGES])) < 1e-6
    masked = Masked(model, plan.cut(gone))
    assert difference(outputs(pruned, [IMAGES]), outputs(masked, [IMAGES])) < 1e-6
    assert difference(outputs(pruned, [IMAGES]), outputs(model, [IMAGES])) > 1e-3


@pytest.mark.parametrize("blocks", [["stage.0:block"], ["stage.0:block", "stage.1:block"]])
def test_blocks_and_channels_are_cut_and_priced_together(blocks: list[str]) -> None:
    torch.manual_seed(0)
    model = Blocks().eval()
    plan = found(model, IMAGES)
    gone = {name: np.array([0, 3]) for name in plan.of("channel")}
    gone |= {name: np.array([0]) for name in blocks}
    assert sliced_equals_masked(model, plan, gone, [IMAGES]) < 1e-9
    kept = {name: plan.units[name].atoms - len(atoms) for name, atoms in gone.items()}
    pruned = apply(model, plan, gone)
    assert CostModel(model, plan).price(kept) == count_costs(pruned, [IMAGES], 2)
    pruned.train()(IMAGES).sum().backward()


def _shared() -> nn.Module:
    model = Blocks()
    model.stage = nn.Sequential(model.stage[0], model.stage[0])
    return model


def _tied() -> nn.Module:
    model = Blocks()
    first, second = (model.get_submodule(f"stage.{n}.a") for n in (0, 1))
    second.weight = first.weight
    return model


class Shifted(Branch):
    """Adds a constant to its input, and then something that depends on it."""

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.relu(self.a(x))) + 1.0  # type: ignore[no-any-return]


def _no_skip() -> nn.Module:
    model = Blocks()
    model.stage = nn.Sequential(Shifted(8), Shifted(8))
    return model


@pytest.mark.parametrize(
    ("build", "blocks"), [(_shared, ["stage:block"]), (_tied, ["stage:block"]), (_no_skip, [])]
)
def test_what_is_shared_or_passes_nothing_on_is_no_block(build: Any, blocks: list[str]) -> None:
    torch.manual_seed(0)
    assert list(plan_of(build().eval(), [IMAGES]).of("block")) == blocks


class Auxiliary(nn.Module):
    """A second head that only training runs, and one that nothing runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.auxiliary = nn.Sequential(nn.Conv2d(8, 6, 1), nn.Dropout(), nn.Conv2d(6, 4, 1))
        self.head = nn.Conv2d(8, 4, 1)
        self.spare = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Any:
        x = F.relu(self.stem(x))
        main = self.head(x).mean((2, 3))
        return (main, self.auxiliary(x).mean((2, 3))) if self.training else main


def test_heads_that_only_training_runs_are_cut_along() -> None:
    torch.manual_seed(0)
    model = Auxiliary()
    plan = found(model, IMAGES)
    assert plan.training == ("", "auxiliary")
    assert set(plan.units) == {"stem", "auxiliary.0"}
    assert "auxiliary.0.weight" in {part.tensor for part in plan.units["stem"].readers}
    assert "not used" in plan.sealed["spare.weight[0]"]
    pruned = apply(model, plan, {"stem": np.array([1]), "auxiliary.0": np.array([0, 2])})
    main, auxiliary = pruned.train()(IMAGES)
    assert main.shape == auxiliary.shape == (2, 4)
    assert all(torch.isfinite(x).all() for x in (main, auxiliary))


def test_multiply_adds_of_training_do_not_count() -> None:
    torch.manual_seed(0)
    model = Auxiliary().eval()
    dense = CostModel(model, found(model, IMAGES)).dense
    assert dense.macs == 64 * (3 * 9 * 8 + 8 * 4)


class Detector(nn.Module):
    """Keeps the boxes whose score is high: how many depends on the values."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.scores = nn.Conv2d(8, 1, 1)
        self.boxes = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Any:
        x = F.relu(self.stem(x))
        scores, boxes = self.scores(x).flatten(), self.boxes(x).movedim(1, -1).reshape(-1, 4)
        keep = (scores > 1e3).nonzero().squeeze(1)
        return {"boxes": boxes[keep], "scores": scores[keep]}


def test_detectors_are_verified_before_what_depends_on_values() -> None:
    torch.manual_seed(0)
    model = Detector()
    plan = found(model, IMAGES)
    assert plan.witnesses == ("scores", "boxes")
    assert list(plan.units) == ["stem"]
    assert not plan.rejected


def test_single_weights_are_units_that_cannot_be_cut() -> None:
    torch.manual_seed(0)
    plan = found(Blocks(), IMAGES)
    assert plan.weights["stem.weight"].atoms == 8 * 3 * 9
    assert plan.weights["weights"].atoms == sum(
        unit.atoms for name, unit in plan.weights.items() if name != "weights"
    )
    with pytest.raises(ModelError, match="set to zero and not cut"):
        plan.cut({"stem.weight": np.array([0])})


class ThreeAxes(nn.Module):
    """Heads within groups of heads: two further units would have the same name."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(12, 2 * 4 * 3) for _ in range(3))
        self.out = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(-1, (2, 4, -1)).permute(0, 2, 3, 1, 4)
            for part in (self.q, self.k, self.v)
        )
        scores = (q @ k.transpose(-2, -1)).softmax(-1)
        mixed: Tensor = self.out((scores @ v).permute(0, 3, 1, 2, 4).flatten(2))
        return mixed.mean(1)


def test_units_of_several_ranks_have_names_and_costs_of_their_own() -> None:
    torch.manual_seed(0)
    model = ThreeAxes().eval()
    for plan in (plan_of(model, [TOKENS]), found(model, TOKENS)):
        names = {
            part for d in plan.sizes.values() for f in d.values() for u in f.parts for part in u
        }
        assert names <= plan.units.keys()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        gone = {name: random_atoms(u.atoms, 0.4, rng) for name, u in plan.units.items()}
        kept = {name: plan.units[name].atoms - len(atoms) for name, atoms in gone.items()}
        pruned = apply(model, plan, gone)
        assert CostModel(model, plan).price(kept) == count_costs(pruned, [TOKENS], 2)


class Leaky(Auxiliary):
    """Gives more in training than an unused parameter would need; nothing there opens a head."""

    def forward(self, x: Tensor) -> Any:
        x = F.relu(self.stem(x))
        main = self.head(x).mean((2, 3))
        return (main, x) if self.training else main


class Dropping(Auxiliary):
    def forward(self, x: Tensor) -> Any:
        return super().forward(F.dropout(x, 0.5, self.training))


@pytest.mark.parametrize("kind", [Leaky, Dropping])
def test_a_training_forward_that_helps_nothing_seals_nothing(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    plan = found(kind(), IMAGES)
    assert "stem" in plan.units
    assert plan.training == ()


class Positions(nn.Module):
    """Adds what it owns to its input: nothing of the input comes back by a second way."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.randn(1, 8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.offset


def test_a_constant_that_is_added_makes_no_block() -> None:
    torch.manual_seed(0)
    model = Blocks().eval()
    model.stage = nn.Sequential(Positions(), Branch(8))
    assert list(plan_of(model, [IMAGES]).of("block")) == ["stage.1:block"]


def _unit(name: str, index: list[list[int]]) -> Unit:
    return Unit(name, len(index), (Slice("w", 0, np.array(index), False),))


@pytest.mark.parametrize(
    ("index", "crosses"),
    [
        ([[0, 2], [1, 3]], True),
        ([[1, 2], [0, 3]], True),
        ([[0, 1], [2, 3]], False),
        ([[0], [1]], False),
        ([[4], [5]], True),
    ],
)
def test_sizes_are_products_only_of_units_that_cross(
    index: list[list[int]], crosses: bool
) -> None:
    heads = _unit("heads", [[0, 1], [2, 3]])
    assert (
        Owners(IdTable({"w": torch.zeros(6, 2)}), [heads]).cross(_unit("other", index)) is crosses
    )
