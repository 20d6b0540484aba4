"""Tasks: what is learned, how it is judged, and the data for both."""

from autoprune.tasks.base import TASKS, Metric, Split, Task, create_task
from autoprune.tasks.classification import Classification

__all__ = ["TASKS", "Classification", "Metric", "Split", "Task", "create_task"]
