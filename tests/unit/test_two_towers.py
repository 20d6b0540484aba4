"""Two towers: whole numbers pick rows of a table, and all between inputs and embeddings is cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.cost.count import count_costs
from autoprune.cost.model import CostModel
from autoprune.formats.onnx import export_onnx, run_onnx
from autoprune.surgery.apply import apply
from autoprune.surgery.compare import difference, outputs
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan
from autoprune.surgery.verify import random_atoms, sliced_equals_masked

WORDS, LENGTH, WIDTH, EMBEDDING = 20, 5, 16, 6


class Towers(nn.Module):
    """A small CNN and PyTorch's own transformer encoder, as a user would put them together."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 8, 3, 2, padding=1), nn.BatchNorm2d(8)
        self.conv, self.see = nn.Conv2d(8, 12, 3, 2, padding=1), nn.Linear(12, EMBEDDING)
        self.words = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.position = nn.Parameter(torch.randn(LENGTH, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 32, 0.0, batch_first=True, norm_first=True, activation="gelu"
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.read = nn.Linear(WIDTH, EMBEDDING)
        self.scale = nn.Parameter(torch.tensor(2.6))

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor
    ) -> dict[str, Tensor]:
        seen = torch.relu(self.conv(torch.relu(self.norm(self.stem(pixel_values)))))
        told = self.words(input_ids) + self.position
        told = self.encoder(told, src_key_padding_mask=attention_mask == 0)
        return {
            "image_embeds": self.see(seen.mean((2, 3))),
            "text_embeds": self.read(told.mean(1)),
            "logit_scale": self.scale.exp(),
        }


def pairs(samples: int) -> dict[str, Tensor]:
    mask = torch.ones(samples, LENGTH, dtype=torch.int64)
    mask[0, 3:] = 0
    return {
        "pixel_values": torch.randn(samples, 1, 8, 8),
        "input_ids": torch.randint(1, WORDS, (samples, LENGTH)),
        "attention_mask": mask,
    }


def plan_of(model: nn.Module) -> Plan:
    return discover(model, pairs(2), np.random.default_rng(0))


@pytest.fixture(scope="module")
def towers() -> tuple[nn.Module, Plan]:
    """Return a model and its plan; no test changes them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Towers().eval()
        return model, plan_of(model)


def cut(plan: Plan, share: float = 0.4) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    units = [unit for unit in plan.units.values() if unit.kind != "block"]
    return {unit.name: random_atoms(unit.atoms, share, rng) for unit in units}


def test_both_towers_can_be_cut_everywhere(towers: tuple[nn.Module, Plan]) -> None:
    model, plan = towers
    kinds = {name: (unit.kind, unit.atoms) for name, unit in plan.units.items()}
    want = {"stem": ("channel", 8), "conv": ("channel", 12), "position": ("channel", WIDTH)}
    for at in range(2):
        want[f"encoder.layers.{at}.linear1"] = ("channel", 32)
        want[f"encoder.layers.{at}.self_attn:heads"] = ("head", 4)
    assert want.items() <= kinds.items()
    touched = {part.tensor for part in plan.units["position"].slices}
    assert {"words.weight", "position", "read.weight"} <= touched
    assert sliced_equals_masked(model, plan, cut(plan), pairs(3)) < 1e-10


def test_embeddings_and_words_stay_as_many(
    towers: tuple[nn.Module, Plan],
) -> None:
    model, plan = towers
    pruned = apply(model, plan, cut(plan))
    words = pruned.get_submodule("words")
    assert isinstance(words, nn.Embedding)
    width = WIDTH - len(cut(plan)["position"])
    assert (words.num_embeddings, words.embedding_dim) == (WORDS, width)
    assert tuple(words.weight.shape) == (WORDS, width)
    found = pruned(**pairs(4))
    assert found["image_embeds"].shape == found["text_embeds"].shape == (4, EMBEDDING)


def test_what_towers_cost_is_what_is_counted_afterwards(
    towers: tuple[nn.Module, Plan],
) -> None:
    model, plan = towers
    gone = cut(plan)
    pruned = apply(model, plan, gone)
    kept = {name: plan.atoms[name] - len(atoms) for name, atoms in gone.items()}
    counted = count_costs(pruned, pairs(2), 2)
    assert CostModel(model, plan).price(kept) == counted
    assert counted.params == sum(p.numel() for p in pruned.parameters())


def test_rows_of_a_table_that_is_a_weight_elsewhere_keep_their_places() -> None:
    class Tied(nn.Module):
        """The table is the head as well, as in a language model."""

        def __init__(self) -> None:
            super().__init__()
            self.words, self.inner = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, tokens: Tensor) -> Tensor:
            told = self.inner(self.words(tokens)) + self.words(tokens)
            return torch.relu(told) @ self.words.weight.T

    model, tokens = Tied().eval(), [torch.randint(WORDS, (3, LENGTH))]
    plan = discover(model, tokens, np.random.default_rng(0))
    (unit,) = plan.units.values()
    assert unit.atoms == WIDTH
    pruned = apply(model, plan, {unit.name: np.arange(5)})
    assert tuple(pruned.get_parameter("words.weight").shape) == (WORDS, WIDTH - 5)
    assert sliced_equals_masked(model, plan, {unit.name: np.arange(5)}, tokens) < 1e-10


@pytest.mark.parametrize("pruned", [False, True])
def test_the_onnx_file_takes_any_number_of_pairs(
    towers: tuple[nn.Module, Plan], tmp_path: Path, pruned: bool
) -> None:
    model, plan = towers
    if pruned:
        model = apply(model, plan, cut(plan)).eval()
    export_onnx(model, pairs(2), tmp_path / "towers.onnx")
    for samples in (1, 2, 7):
        given = pairs(samples)
        found = run_onnx(tmp_path / "towers.onnx", given)
        assert difference(found, outputs(model, given)) < 1e-4
