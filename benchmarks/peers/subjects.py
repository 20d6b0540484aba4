"""The trained models that everybody prunes, and how what is pruned is trained afterwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from autoprune.core.recovery import Recovery
from autoprune.execution.build import build_model, build_task
from autoprune.execution.config import load_search_file
from autoprune.tasks import Task
from benchmarks import networks
from benchmarks.images import EXAMPLES

EPOCH = 469  # steps: 30,000 images in batches of 64


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One trained model with its data.

    Args:
        model: Returns it in eval mode; trains it once, if the cache does not hold it.
        task: Returns data, loss and metric.
        heads: Names of the modules whose outputs are the model's: rivals are told to leave them.
        steps: Training steps of whatever was pruned, in batches of the task.
        settings: Of `Recovery`, of that training and of the short ones in a search.
    """

    model: Callable[[], nn.Module]
    task: Callable[[], Task]
    heads: tuple[str, ...]
    steps: int = EPOCH
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recovery(self) -> Recovery:
        """How this model is trained."""
        return Recovery(**self.settings)


def _network(name: str, head: str) -> Subject:
    return Subject(model=lambda: networks.dense(name), task=networks.task, heads=(head,))


def _file(path: Path, heads: tuple[str, ...], steps: int, **settings: Any) -> Subject:
    return Subject(
        model=lambda: build_model(load_search_file(path)).eval(),
        task=lambda: build_task(load_search_file(path)),
        heads=heads,
        steps=steps,
        settings=settings,
    )


SMALL = ("resnet20", "mobilenet_v2")
QUICK = "digits"  # no part of the table: everybody is right about almost all of them
_TASKS = Path(__file__).parent.parent / "tasks"
SUBJECTS: Mapping[str, Subject] = {
    "resnet20": _network("resnet20", "head"),
    "mobilenet_v2": _network("mobilenet_v2", "classifier.1"),
    "mobilenet_v2_imagenet": _file(_TASKS / "mobilenet.yaml", ("classifier.1",), EPOCH),
    "tree_crowns": _file(
        EXAMPLES / "tree_crowns" / "search.yaml", ("head",), 160, learning_rate=0.01
    ),
    "scenes": _file(EXAMPLES / "scenes" / "search.yaml", ("classify",), 375, learning_rate=0.05),
    QUICK: _file(EXAMPLES / "digits" / "search.yaml", ("head",), 60),
}
