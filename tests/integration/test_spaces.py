"""Every shipped search space fits the models of torchvision that it names."""

from typing import Any

import pytest
import torch
from torchvision.models import get_model

from autoprune._resources import names
from autoprune.space.loader import FOLDER, load_space
from autoprune.surgery.discover import plan_of

DETECTORS = {"ssd300_vgg16": 300, "ssdlite320_mobilenet_v3_large": 320}
SPACES = {name: load_space(name) for name in names(FOLDER, ".yaml")}
CASES = [(name, model) for name, space in SPACES.items() for model in space.for_]


def case(model: str) -> tuple[torch.nn.Module, list[Any]]:
    """Return an untrained model and a small input."""
    options: dict[str, Any] = {"image_size": 64} if model.startswith("vit") else {}
    if model.startswith(("fcn", "deeplab", "lraspp", "ssd", "retinanet", "fcos", "fasterrcnn")):
        options["weights_backbone"] = None
    if model.startswith(("retinanet", "fcos", "fasterrcnn")):
        options |= {"min_size": 128, "max_size": 128}
    net = get_model(model, weights=None, **options).eval()
    if model.startswith(("ssd", "retinanet", "fcos", "fasterrcnn")):
        size = DETECTORS.get(model, 128)
        return net, [[torch.rand(3, size, size) for _ in range(2)]]
    return net, [torch.rand(2, 3, 64, 64)]


@pytest.mark.parametrize(("space", "model"), CASES)
def test_a_space_resolves_against_the_models_it_is_for(space: str, model: str) -> None:
    net, inputs = case(model)
    plan = plan_of(net, inputs)
    resolved = SPACES[space].resolve(plan.atoms, plan.kinds)  # a pattern without a match raises
    atoms = plan.of("channel", "head")
    missing = [n for n in atoms if n not in resolved and not SPACES[space].protects(n)]
    assert len(missing) <= 1, f"too small for any sparsity: {missing}"
    assert sum(unit.levels for unit in resolved.values()) > 4 * len(resolved)  # much to choose


def test_every_space_but_the_default_names_its_models() -> None:
    assert [name for name, space in SPACES.items() if not space.for_] == ["default"]
    assert len(SPACES) == 16
