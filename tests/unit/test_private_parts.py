"""Private parts of Optuna and Ray that autoprune uses: a newer release may not have them.

The job that tests with the newest releases tells by these tests what has to be adapted.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

pytest.importorskip("ray")

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from ray.tune.experiment import Trial
from ray.tune.schedulers import HyperBandScheduler
from ray.tune.search.optuna import OptunaSearch

from autoprune.agent.samplers.cmaes import CmaEs
from autoprune.execution.workers.tune_hyperband import HyperBand, _WholeBracket
from autoprune.ray_tune import StagedOptunaSearch
from autoprune.storage.own_trials import OwnTrials
from autoprune.storage.quick import QuickStorage

PACKAGE = Path(__file__).parents[2] / "autoprune"
# whose parts they are, and what we read or call there
USED: dict[str, tuple[str, ...]] = {
    "optuna study": ("_storage", "_study_id"),
    "optuna trial": ("_suggest", "_trial_id"),
    "optuna frozen trial": ("_trial_id",),
    "optuna cache": (
        "_add_trials_to_cache",
        "_backend",
        "_lock",
        "_studies",
        "_trial_id_to_study_id_and_number",
    ),
    "optuna cache of a study": ("trials", "unfinished_trial_ids"),
    "optuna database": ("_create_new_trial", "engine", "scoped_session"),
    "ray search": ("_completed_trials", "_ot_trials"),
    "ray hyperband": ("_hyperbands", "_process_bracket"),
    "ray bracket": ("_all_trials", "_n0", "cur_iter_done", "current_trials"),
    "ray state of a trial": ("ray_actor",),
}
# ours, and what of Optuna or Ray it replaces
REPLACED = [
    (CmaEs, "_init_optimizer"),
    (CmaEs, "_restore_optimizer"),
    (OwnTrials, "_read_trials_from_remote_storage"),
    (QuickStorage, "_get_prepared_new_trial"),
    (HyperBand, "_create_bracket"),
    (HyperBand, "choose_trial_to_run"),
    (_WholeBracket, "filled"),
    (_WholeBracket, "cur_iter_done"),
    (StagedOptunaSearch, "on_trial_complete"),
    (StagedOptunaSearch, "on_trial_result"),
]


def trees() -> Iterator[ast.Module]:
    """Yield the modules of the package that import Optuna or Ray."""
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if any(one.partition(".")[0] in ("optuna", "ray") for one, _ in imports(tree)):
            yield tree


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield what a module imports: from where, and by which name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", name.name) for name in node.names)
        elif isinstance(node, ast.Import):
            yield from ((name.name, "") for name in node.names)


def private_imports() -> list[tuple[str, str]]:
    """Return what of Optuna and Ray is imported that is private, or lies in a private module."""
    found = {one for tree in trees() for one in imports(tree)}
    return sorted(
        (module, name)
        for module, name in found
        if module.partition(".")[0] in ("optuna", "ray") and "._" in f"{module}.{name}"
    )


@cache
def owners() -> dict[str, Any]:
    """Return one of each thing that has private parts."""
    study = optuna.create_study()
    scheduler = HyperBandScheduler(metric="value", mode="min", max_t=3)
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}
    backend: Any = SimpleNamespace()
    return {
        "optuna study": study,
        "optuna trial": study.ask(),
        "optuna frozen trial": study.trials[0],
        "optuna cache": _CachedStorage(backend),
        "optuna cache of a study": _StudyInfo(),
        "optuna database": optuna.storages.RDBStorage("sqlite://"),
        "ray search": OptunaSearch(space=space, metric="value", mode="min"),
        "ray hyperband": scheduler,
        "ray bracket": scheduler._create_bracket(0),  # type: ignore[no-untyped-call]
        "ray state of a trial": Trial("any", stub=True).temporary_state,
    }


def told(owner: str, what: str) -> str:
    package = owner.partition(".")[0].partition(" ")[0]
    return (
        f"{package} {version(package)}: {what} autoprune uses it; adapt what does, or keep the "
        "newer release out in pyproject.toml."
    )


@pytest.mark.parametrize(("module", "name"), private_imports())
def test_private_names_that_are_imported_are_there(module: str, name: str) -> None:
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        found = None
    assert hasattr(found, name), told(module, f"{module} has no {name!r}.")


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in USED.items() for name in names]
)
def test_private_attributes_that_are_used_are_there(owner: str, name: str) -> None:
    assert hasattr(owners()[owner], name), told(owner, f"The {owner} has no {name!r}.")


@pytest.mark.parametrize(("ours", "name"), REPLACED)
def test_methods_that_are_replaced_take_what_ours_take(ours: type, name: str) -> None:
    theirs = ours.__bases__[0]
    package = theirs.__module__
    assert hasattr(theirs, name), told(package, f"{theirs.__name__} has no {name!r}.")
    takes, given = (
        list(inspect.signature(getattr(one, name)).parameters) for one in (ours, theirs)
    )
    assert takes == given, told(package, f"{theirs.__name__}.{name} takes {given}, not {takes}.")


def test_every_private_attribute_of_others_is_named_here() -> None:
    ours, used = set[str](), set[str]()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                ours.add(node.name)
            elif isinstance(node, ast.Attribute) and node.attr[0] == "_" != node.attr[1]:
                of = node.value.id if isinstance(node.value, ast.Name) else ""
                (ours if of in ("self", "cls") else used).add(node.attr)
    named = {name for names in USED.values() for name in names}
    assert used - named - ours == set(), "name them in USED, or do without"
