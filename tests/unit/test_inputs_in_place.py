"""A forward may change what it is given; the batches of a loader, which may keep them, stay."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoprune.agent.housing.identity import dense_fingerprint
from autoprune.agent.preparing.prepare import check_data, example_inputs
from autoprune.core.recovery import Recovery, ScoreBy
from autoprune.evaluation.distillation.distill import check_teachable
from autoprune.evaluation.measuring.measure import measure
from autoprune.evaluation.measuring.search_split import SearchSplit
from autoprune.evaluation.probing.order import order_of
from autoprune.evaluation.pruning.importance import rank_atoms
from autoprune.evaluation.reconstruction.recalibrate import recalibrate
from autoprune.evaluation.training.fine_tune import fine_tune
from autoprune.surgery.discover import discover
from autoprune.surgery.tensors import copied
from autoprune.tasks import Classification, Custom, Detection, Task
from autoprune.tasks.base import SPLITS
from tests.in_place import Scaling

HIDDEN = Recovery(distill_features=1.0)


def images(task: Task) -> list[Tensor]:
    return [batch[0] for split in ("train", "search") for batch in task.batches(split)]


def scores(score_by: ScoreBy) -> Callable[[nn.Module, Task], object]:
    def score(model: nn.Module, task: Task) -> object:
        split = SearchSplit(task, model, score_by, 0, "cpu")
        found = [split.reading() for _ in range(2)]
        for reading in found:
            split.extend(reading, model, 1.0)
        assert found[0].found() == found[1].found()
        return found

    return score


def ranks(model: nn.Module, task: Task) -> object:
    plan = discover(model, [images(task)[0][:2].clone()], np.random.default_rng(0))
    return rank_atoms(model, plan, task, ["channel.taylor", "channel.fisher"], 1, "cpu")


def taught(model: nn.Module, task: Task) -> object:
    recovery = Recovery(distill=0.5)
    return fine_tune(copied(model), task, 2, recovery, "cpu", teacher=model)


@pytest.mark.parametrize(
    "look",
    [
        lambda model, task: measure(model, task, "search", "cpu"),
        scores("loss"),
        scores("kl"),
        lambda model, task: recalibrate(model, task, 1, "cpu"),
        lambda model, task: fine_tune(model, task, 2, Recovery(distill=0), "cpu"),
        taught,
        lambda model, task: check_teachable(model, task, (images(task)[0],), HIDDEN),
        ranks,
        lambda model, task: check_data(model, task),
        lambda model, task: dense_fingerprint(model, [images(task)[0]]),
        lambda model, task: order_of(model, [images(task)[0]]),
        lambda model, task: model(*example_inputs(task)),
    ],
    ids=[
        *("measure", "loss", "kl", "norms", "training", "distillation", "teachable", "ranks"),
        *("first look", "identity", "order", "example"),
    ],
)
def test_batches_that_a_loader_keeps_stay_as_they_are(
    net: nn.Module, task: Classification, look: Callable[[nn.Module, Task], object]
) -> None:
    before = [x.clone() for x in images(task)]

    look(Scaling(net).eval(), task)

    assert all(map(torch.equal, images(task), before))


def test_a_second_forward_gets_what_the_first_one_got(net: nn.Module) -> None:
    batch = torch.randn(4, 1, 16, 16)
    task = Custom(
        {split: [batch] for split in SPLITS},
        evaluate=lambda model, x: model(x)[:, 0],
        loss=lambda outputs, x: outputs.mean(),
    )
    with torch.no_grad():
        expected = net(batch * 2)
        outputs = task.outputs(Scaling(net).eval(), batch.clone())
    assert task.loss(outputs, batch) == expected.mean()


class Scaler(nn.Module):
    """A detector that notes the images it is given, and changes them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def forward(self, images: list[Tensor], targets: Any = None) -> Any:
        self.seen += [float(image.max()) for image in images]
        for image in images:
            image.mul_(2)
        return [{} for _ in images] if targets is None else {"loss": images[0].mean()}


def test_losses_of_a_detector_are_those_of_the_images_that_boxes_were_found_in() -> None:
    batch = ([torch.ones(3, 8, 8)], [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}])
    model = Scaler().eval()
    with torch.no_grad():
        Detection({split: [batch] for split in SPLITS}).outputs(model, batch)
    assert model.seen == [1.0, 1.0]
