"""Batch norms are folded where that changes nothing, and nowhere else."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoprune.formats.fold import BatchNorms
from autoprune.formats.program import capture
from autoprune.surgery.compare import difference, outputs, randomised
from autoprune.surgery.nested import Inputs, call, floats_in
from autoprune.surgery.tensors import state_tensors

IMAGES = torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
FOLDED, KEPT = BatchNorms(1, 0), BatchNorms(1, 1)


class Model(nn.Module):
    """Some layers, and a forward given as a function of them."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self._own = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self._own(self, x)


def checked(model: nn.Module, inputs: Inputs = (IMAGES,)) -> BatchNorms:
    """Return the counts, having compared outputs and looked whether the model was left alone."""
    model = randomised(model.eval(), torch.Generator().manual_seed(1))
    before = {name: tensor.clone() for name, tensor in state_tensors(model).items()}
    program = capture(model, inputs)
    with torch.no_grad():
        found = floats_in(call(program.exported.module(), inputs))
    assert difference(found, outputs(model, inputs)) < 1e-5
    assert before.keys() == state_tensors(model).keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in state_tensors(model).items())
    return program.batch_norms


@pytest.mark.parametrize(
    ("layers", "x"),
    [
        ([nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)], IMAGES),
        ([nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6, affine=False)], IMAGES),
        ([nn.Conv2d(4, 8, 3, groups=2, padding="same"), nn.BatchNorm2d(8, eps=0.1)], IMAGES),
        ([nn.ConvTranspose2d(4, 6, 2, bias=False), nn.BatchNorm2d(6)], IMAGES),
        ([nn.ConvTranspose2d(4, 6, 2, groups=2), nn.BatchNorm2d(6)], IMAGES),
        ([nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6)], IMAGES[..., 0]),
        ([nn.Conv3d(4, 6, 1), nn.BatchNorm3d(6)], IMAGES[..., None]),
        ([nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6)], IMAGES[..., 0, 0]),
    ],
    ids=lambda given: "-".join(map(str, given)) if isinstance(given, list) else "",
)
def test_a_batch_norm_right_after_its_layer_is_folded(layers: list[nn.Module], x: Tensor) -> None:
    assert checked(nn.Sequential(*layers), [x]) == FOLDED


def conv() -> dict[str, nn.Module]:
    return {"conv": nn.Conv2d(4, 4, 3, padding=1), "norm": nn.BatchNorm2d(4)}


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: (y := m.conv(x)) + m.norm(y),
        lambda m, x: (lambda y: (y, m.norm(y)))(m.conv(x)),
        lambda m, x: m.norm(torch.relu(m.conv(x))),
        lambda m, x: m.conv(m.norm(x)),
        lambda m, x: m.norm(F.conv2d(x, m.conv.weight * 2)),
        lambda m, x: F.batch_norm(m.conv(x), None, None, m.norm.weight, m.norm.bias, True),
    ],
    ids=["added", "returned", "relu between", "before", "computed weights", "training"],
)
def test_one_whose_layer_others_read_or_that_is_elsewhere_stays(
    forward: Callable[[Any, Tensor], Any],
) -> None:
    assert checked(Model(forward, **conv())) == KEPT


def test_one_that_uses_the_statistics_of_its_batch_stays() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        n = m.norm
        return F.batch_norm(m.conv(x), n.running_mean, n.running_var, n.weight, n.bias, True)

    assert capture(Model(forward, **conv()).eval(), [IMAGES]).batch_norms == KEPT


def test_one_over_many_places_of_a_linear_layer_stays() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(4))
    assert checked(model, [IMAGES[..., 0]]) == KEPT


def test_a_layer_that_is_used_twice_gets_weights_for_each_use() -> None:
    def forward(m: Any, x: Tensor) -> Any:
        return m.conv(m.other(m.conv(m.norm(m.conv(x)))))

    assert checked(Model(forward, **conv(), other=nn.BatchNorm2d(4))) == BatchNorms(2, 0)


def test_a_batch_norm_that_is_used_twice_is_folded_into_both_layers() -> None:
    layers = conv() | {"other": nn.Conv2d(4, 4, 1)}
    model = Model(lambda m, x: m.norm(m.other(m.norm(m.conv(x)))), **layers)
    assert checked(model) == BatchNorms(2, 0)


def test_tied_and_frozen_weights_stay_right() -> None:
    layers = conv() | {"tied": nn.Conv2d(4, 4, 3, padding=1)}
    layers["tied"].weight = layers["conv"].weight
    for parameter in layers["conv"].parameters():
        parameter.requires_grad_(False)
    model = Model(lambda m, x: m.tied(m.norm(m.conv(x))), **layers)
    assert checked(model) == FOLDED


def test_what_nothing_reads_any_more_is_left_out() -> None:
    model = Model(lambda m, x: m.norm(m.conv(x)), **conv(), unused=nn.Linear(3, 3)).eval()
    state = capture(model, [IMAGES]).exported.state_dict
    assert sorted(state) == ["conv.bias", "conv.weight"]


def test_nothing_tells_where_it_was_made() -> None:
    program = capture(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()), [IMAGES])
    assert not any(node.meta.get("stack_trace") for node in program.exported.graph.nodes)


def test_inputs_by_name_and_any_batch_size() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))

        def forward(self, *, image: Tensor, scale: Tensor) -> dict[str, Tensor]:
            return {"out": self.layers(image) * scale}

    inputs = {"image": IMAGES, "scale": torch.rand(2, 1, 1, 1)}
    model = Named().eval()
    assert checked(model, inputs) == FOLDED
    exported = capture(model, inputs).exported.module()
    for samples in (1, 5):
        x = {"image": torch.rand(samples, 4, 6, 6), "scale": torch.rand(samples, 1, 1, 1)}
        with torch.no_grad():
            assert difference([exported(**x)["out"]], outputs(model, x)) < 1e-5


def test_zeros_of_a_layer_stay_zero() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)).eval()
    with torch.no_grad():
        model[0].get_parameter("weight")[:, :2] = 0
    assert not capture(model, [IMAGES]).exported.state_dict["0.weight"][:, :2].any()
