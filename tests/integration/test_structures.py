"""Searches over every structure: channels, heads, blocks, single weights, and regularised ones."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import autoprune
from autoprune.core.imports import load_object
from autoprune.space.schema import SearchSpace, UnitSpace
from autoprune.surgery.blocks import PassThrough
from autoprune.surgery.plan import Plan

RECOVERY = autoprune.Recovery(
    score_steps=3, recover_steps=6, finalists=1, calibration_batches=2, shrink_steps=3
)
SPARSE = {"methods": ["unstructured.l1"], "sparsities": [0.5, 0.75]}


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 12, 3, padding=1), nn.Conv2d(12, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(F.relu(self.a(x)))  # type: ignore[no-any-return]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.first, self.second = Branch(), Branch()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(F.relu(self.stem(x)))).flatten(2).transpose(1, 2)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.mean(1))  # type: ignore[no-any-return]


def space(methods: list[str], **units: dict[str, Any]) -> SearchSpace:
    rules = [{"match": match, **rule} for match, rule in units.items()]
    return SearchSpace.model_validate(
        {"methods": methods, "sparsities": [0.25, 0.5, 0.75], "units": rules}
    )


def searched(
    project: Path, given: SearchSpace, budget: str, trials: int = 5
) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    model = Net().eval()
    result = autoprune.search(
        model,
        task=autoprune.Classification(load_object("code.py:loaders", base=project)()),
        budget=budget,
        space=given,
        trials=trials,
        recovery=RECOVERY,
        out=project / "run",
        runner=f"file:{project / 'runner.yaml'}",
        progress=lambda event: None,
    )
    loaded = autoprune.load(project / "run", model=model)
    found = json.loads((project / "run" / "result.json").read_text())
    with torch.no_grad():
        x = torch.randn(2, 1, 6, 6)
        assert torch.equal(loaded(x), result.model.eval()(x))
    return loaded, found


def test_blocks_alone_can_meet_a_budget(project: Path) -> None:
    model, found = searched(project, space(["block.drop"]), "macs=60%")
    assert any(isinstance(module, PassThrough) for module in model.modules())
    assert found["pruned"]["macs"] <= 0.6 * found["dense"]["macs"]
    cuts = {cut["unit"]: (cut["atoms"], cut["kept"]) for cut in found["cuts"]}
    assert (1, 0) in {cuts["first:block"], cuts["second:block"]}


@pytest.mark.parametrize("methods", [["unstructured.l1"], ["channel.l1", "unstructured.l1"]])
def test_zeros_alone_or_beside_cuts_meet_a_limit_on_them(
    project: Path, methods: list[str]
) -> None:
    _, found = searched(project, space(methods), "sparse_size=50%", 3)
    assert found["pruned"]["sparse_size_bytes"] <= 0.5 * found["dense"]["sparse_size_bytes"]
    assert "weights" not in found["policy"]  # over all tensors: its price is not known


def test_heads_and_channels_are_cut_together(project: Path) -> None:
    given = space(["channel.l1", "head.taylor"])
    model, found = searched(project, given, "params=50%")
    assert {c["method"] for c in found["policy"].values()} <= {"channel.l1", "head.taylor"}
    assert sum(p.numel() for p in model.parameters()) == found["pruned"]["params"]


@pytest.mark.parametrize("method", ["channel.regularised_l1", "channel.regularised_l2"])
def test_regularised_criteria_search(project: Path, method: str) -> None:
    _, found = searched(project, space([method]), "macs=50%")
    assert {choice["method"] for choice in found["policy"].values()} == {method}
    assert found["pruned"]["macs"] <= 0.5 * found["dense"]["macs"]


def _halfway(plan: Plan, spaces: Mapping[str, UnitSpace]) -> list[dict[str, Any]]:
    """Propose the first level of every unit: zeros cost nothing, so a search may leave them."""
    return [{f"level:{unit}": 1 for unit in spaces}]


def test_zeros_beside_cuts_survive_recovery_loading_and_more_training(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "autoprune.agent.proposing.proposers.first_proposals",
        lambda plan, projection, _: _halfway(plan, projection.spaces),
    )
    single: Any = {"weights": SPARSE, "first.a.weight": {"methods": ["2:4.l1"]}}
    given = space(["channel.l1"], **single)
    model, found = searched(project, given, "macs=80%", 1)
    zeroed = {cut["unit"]: cut["kept"] / cut["atoms"] for cut in found["cuts"]}
    assert zeroed["weights"] <= 0.5
    assert zeroed["first.a.weight"] <= 0.5
    before = {n: p.detach() == 0 for n, p in model.named_parameters() if p.ndim > 1}
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        optimiser.zero_grad()
        model(torch.randn(4, 1, 6, 6)).square().mean().backward()
        optimiser.step()
    for name, mask in before.items():
        assert torch.equal(model.get_parameter(name).detach() == 0, mask)
