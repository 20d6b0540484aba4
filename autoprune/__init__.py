"""autoprune: searches how to prune a trained PyTorch vision model to fit a budget."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoprune.agent.goals.front import FrontResult as FrontResult
    from autoprune.agent.latency.built import BuiltLatency as BuiltLatency
    from autoprune.agent.latency.check import CheckedLatency as CheckedLatency
    from autoprune.agent.latency.stored import StoredLatencies as StoredLatencies
    from autoprune.agent.prunable import Prunable as Prunable
    from autoprune.agent.results.result import SearchResult as SearchResult
    from autoprune.api import search as search
    from autoprune.artifacts.export import Exported as Exported
    from autoprune.core.budget import Budget as Budget
    from autoprune.core.ledger import LedgerEntry as LedgerEntry
    from autoprune.core.policy import Choice as Choice
    from autoprune.core.policy import Policy as Policy
    from autoprune.core.recovery import Recovery as Recovery
    from autoprune.evaluation.probing.sensitivity import Sensitivity as Sensitivity
    from autoprune.latency_api import build_latency as build_latency
    from autoprune.latency_api import check_latency as check_latency
    from autoprune.latency_api import forget_latency as forget_latency
    from autoprune.latency_api import stored_latencies as stored_latencies
    from autoprune.ledger_api import ledger as ledger
    from autoprune.profile_api import profile as profile
    from autoprune.prunable_api import prunable as prunable
    from autoprune.report_api import report as report
    from autoprune.reporting.inventory import Inventory as Inventory
    from autoprune.result_api import export as export
    from autoprune.result_api import load as load
    from autoprune.tasks.classification import Classification as Classification
    from autoprune.tasks.contrastive import Contrastive as Contrastive
    from autoprune.tasks.custom import Custom as Custom
    from autoprune.tasks.detection import Detection as Detection
    from autoprune.tasks.multi_label import MultiLabel as MultiLabel
    from autoprune.tasks.segmentation import Segmentation as Segmentation
    from autoprune.units_api import units as units

__version__ = "0.1.0"

_HOMES = {
    "Budget": "autoprune.core.budget",
    "BuiltLatency": "autoprune.agent.latency.built",
    "CheckedLatency": "autoprune.agent.latency.check",
    "Choice": "autoprune.core.policy",
    "Classification": "autoprune.tasks.classification",
    "Custom": "autoprune.tasks.custom",
    "Detection": "autoprune.tasks.detection",
    "Contrastive": "autoprune.tasks.contrastive",
    "Exported": "autoprune.artifacts.export",
    "FrontResult": "autoprune.agent.goals.front",
    "Inventory": "autoprune.reporting.inventory",
    "LedgerEntry": "autoprune.core.ledger",
    "MultiLabel": "autoprune.tasks.multi_label",
    "Policy": "autoprune.core.policy",
    "Prunable": "autoprune.agent.prunable",
    "Recovery": "autoprune.core.recovery",
    "SearchResult": "autoprune.agent.results.result",
    "Segmentation": "autoprune.tasks.segmentation",
    "Sensitivity": "autoprune.evaluation.probing.sensitivity",
    "StoredLatencies": "autoprune.agent.latency.stored",
    "build_latency": "autoprune.latency_api",
    "check_latency": "autoprune.latency_api",
    "export": "autoprune.result_api",
    "forget_latency": "autoprune.latency_api",
    "ledger": "autoprune.ledger_api",
    "load": "autoprune.result_api",
    "profile": "autoprune.profile_api",
    "prunable": "autoprune.prunable_api",
    "report": "autoprune.report_api",
    "search": "autoprune.api",
    "stored_latencies": "autoprune.latency_api",
    "units": "autoprune.units_api",
}
__all__ = [*sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: torch and optuna take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'autoprune' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
