"""Tasks: what is learned, how it is judged, and the data for both."""

from autoprune.tasks.base import (
    TASKS,
    HasLogits,
    Metric,
    Split,
    Task,
    create_task,
    need_logits,
)
from autoprune.tasks.classification import Classification
from autoprune.tasks.contrastive import Contrastive

__all__ = [
    "TASKS",
    "Classification",
    "Contrastive",
    "HasLogits",
    "Metric",
    "Split",
    "Task",
    "create_task",
    "need_logits",
]
