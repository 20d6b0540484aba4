"""Signatures that surgery takes, and models and inputs that it refuses."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoprune.errors import ModelError
from autoprune.surgery.accept import unwrapped
from autoprune.surgery.apply import apply
from autoprune.surgery.compare import difference, outputs
from autoprune.surgery.discover import discover
from autoprune.surgery.plan import Plan
from autoprune.surgery.verify import sliced_equals_masked

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
GONE = {"a": np.array([1, 4])}


@dataclass
class Sample:
    image: Tensor
    scale: float
    more: dict[str, Tensor]


class Pair(NamedTuple):
    image: Tensor
    scale: float


@dataclass
class Answer:
    logits: Tensor
    note: str = "none"


class Core(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 1)

    def run(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return self.b(F.relu(self.a(x))).mean((2, 3)) * scale  # type: ignore[no-any-return]


class TakesSample(Core):
    def forward(self, sample: Sample) -> Answer:
        return Answer(self.run(sample.image + sample.more["shift"], sample.scale))


class TakesDict(Core):
    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"out": [self.run(batch["images"][0])]}


class TakesTwo(Core):
    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        return self.run(left), self.run(right)


class TakesWords(Core):
    def forward(self, *, pixel_values: Tensor, scale: float = 1.0) -> Answer:
        return Answer(self.run(pixel_values, scale))


class TakesPair(Core):
    def forward(self, pair: Pair) -> Pair:
        return Pair(self.run(pair.image, pair.scale), 1.0)


class TakesList(Core):
    def forward(self, images: list[Tensor]) -> list[Tensor]:
        return [self.run(image[None]) for image in images]


class Plain(Core):
    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


@pytest.mark.parametrize(
    ("build", "inputs"),
    [
        (TakesSample, [Sample(IMAGES, 2.0, {"shift": IMAGES})]),
        (TakesDict, [{"images": (IMAGES,)}]),
        (TakesTwo, [IMAGES, IMAGES + 1]),
        (TakesWords, {"pixel_values": IMAGES, "scale": 2.0}),
        (TakesPair, [Pair(IMAGES, 2.0)]),
        (TakesList, [list(IMAGES)]),
        (Plain, IMAGES),
        (TakesSample, Sample(IMAGES, 2.0, {"shift": IMAGES})),
    ],
)
def test_signatures(build: Callable[[], nn.Module], inputs: Any) -> None:
    torch.manual_seed(0)
    model = build().eval()
    plan = discover(model, inputs, np.random.default_rng(0))
    assert (list(plan.units), plan.rejected, plan.batch) == (["a"], {}, 2)
    inputs = inputs if isinstance(inputs, list | dict) else [inputs]
    assert sliced_equals_masked(model, plan, GONE, inputs) < 1e-9
    assert difference(outputs(apply(model, plan, GONE), inputs), outputs(model, inputs)) > 1e-4


def plan_of(model: nn.Module, inputs: Any = (IMAGES,)) -> Plan:
    torch.manual_seed(0)
    return discover(model, inputs, np.random.default_rng(0))


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrappers_are_left_aside_with_a_warning(wrap: Any) -> None:
    model = Plain().eval()
    wrapped = wrap(model)
    with pytest.warns(UserWarning, match="works on the module inside"):
        plan = plan_of(wrapped)
    assert list(plan.units) == ["a"]
    assert type(apply(wrapped, plan, GONE)) is Plain
    assert unwrapped(wrapped) is model


def test_autocast_around_changes_nothing() -> None:
    model = Plain().eval()
    with torch.autocast("cpu", torch.bfloat16):
        plan = plan_of(model)
        pruned = apply(model, plan, GONE)
        assert pruned(IMAGES).dtype == torch.bfloat16
    assert list(plan.units) == ["a"]
    assert pruned.get_parameter("a.weight").dtype == torch.float32


def test_channels_last_stays() -> None:
    model = Plain().eval().to(memory_format=torch.channels_last)
    images = IMAGES.to(memory_format=torch.channels_last)
    pruned = apply(model, plan_of(model, [images]), GONE)
    weight = pruned.get_parameter("a.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(weight, model.a.weight[[0, 2, 3, 5]])


def test_the_pruned_model_compiles_and_copies() -> None:
    model = Plain().eval()
    pruned = apply(model, plan_of(model), GONE)
    expected = outputs(pruned, [IMAGES])
    assert difference(outputs(copy.deepcopy(pruned), [IMAGES]), expected) == 0.0
    compiled: Any = torch.compile(pruned, backend="eager")
    assert difference(outputs(compiled, [IMAGES]), expected) < 1e-6


def _scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(Plain().eval(), IMAGES)  # type: ignore[no-any-return]


def _quantised() -> nn.Module:
    model = nn.Sequential(Plain(), nn.Module())
    model[1] = torch.ao.nn.quantized.Linear(4, 4)
    return model


def _meta() -> nn.Module:
    return Plain().to("meta")


def _sequence_of_nothing() -> nn.Module:
    return nn.Sequential(nn.ReLU())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_scripted, "is TorchScript"),
        (_quantised, r"\(in '1'\) is quantised"),
        (_meta, "meta device"),
        (_sequence_of_nothing, "no parameters"),
        (lambda: {"a": 1}, "must be a torch.nn.Module. Got dict"),
    ],
)
def test_models_that_cannot_be_pruned_are_told(build: Any, message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = build()
    with pytest.raises(ModelError, match=message):
        plan_of(model)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "must hold tensors"),
        ((IMAGES.to("meta"),), "on cpu, the inputs are on meta"),
        ((IMAGES[:, :2],), r"inputs \(2, 2, 8, 8\) float32"),
        ({"pixels": IMAGES}, "TypeError.*pixels"),
    ],
)
def test_inputs_that_do_not_fit_are_told(inputs: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        plan_of(Plain().eval(), inputs)


class Branching(Core):
    def forward(self, x: Tensor) -> Tensor:
        return self.run(x) if x.mean() > -9 else self.run(-x)


def test_a_forward_that_may_branch_is_noted() -> None:
    (note,) = plan_of(Branching().eval()).notes
    assert "only the path it took" in note
    assert plan_of(Plain().eval()).notes == ()


def test_images_of_whole_numbers_are_told_what_to_become() -> None:
    whole = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ModelError, match=r"uint8, convert .*ToDtype\(torch.float32, scale=True"):
        discover(nn.Sequential(nn.Conv2d(3, 4, 3)), [whole], np.random.default_rng(0))
    with pytest.raises(ModelError, match=r"forward raised .*\(argument,\)\.$"):
        discover(nn.Sequential(nn.Conv2d(4, 4, 3)), [IMAGES], np.random.default_rng(0))
