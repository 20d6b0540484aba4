"""Tasks: what is learned, how it is judged, and the data for both."""

from autoprune.tasks.base import (
    TASKS,
    HasClasses,
    HasLabels,
    HasLogits,
    HasNotes,
    Metric,
    Split,
    Task,
    create_task,
    need_logits,
)
from autoprune.tasks.classification import Classification
from autoprune.tasks.contrastive import Contrastive
from autoprune.tasks.custom import Custom
from autoprune.tasks.detection import Detection
from autoprune.tasks.loaded import LoadedTask
from autoprune.tasks.multi_label import MultiLabel
from autoprune.tasks.segmentation import Segmentation

__all__ = [
    "TASKS",
    "Classification",
    "Contrastive",
    "Custom",
    "Detection",
    "HasClasses",
    "HasLabels",
    "HasLogits",
    "HasNotes",
    "LoadedTask",
    "Metric",
    "MultiLabel",
    "Segmentation",
    "Split",
    "Task",
    "create_task",
    "need_logits",
]
