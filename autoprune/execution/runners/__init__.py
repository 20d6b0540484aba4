"""Runners: where a search runs. One file for each kind, one table of them in `load`."""

from autoprune.execution.runners.base import RunnerFile, SearchRunner
from autoprune.execution.runners.jobs import JobRunner
from autoprune.execution.runners.load import (
    KINDS,
    find_runner,
    load_runner,
    load_runner_for,
    read_runner,
)
from autoprune.execution.runners.local import LocalRunner

__all__ = [
    "KINDS",
    "JobRunner",
    "LocalRunner",
    "RunnerFile",
    "SearchRunner",
    "find_runner",
    "load_runner",
    "load_runner_for",
    "read_runner",
]
