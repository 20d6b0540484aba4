"""Schedulers of Ray Tune that stop trials early, by name or import string."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.schedulers import (
    ASHAScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    ResourceChangingScheduler,
    TrialScheduler,
)

from autoprune._hints import did_you_mean
from autoprune.core.imports import is_import, load_object
from autoprune.errors import ConfigError
from autoprune.execution.workers.tune_hyperband import HyperBand
from autoprune.execution.workers.tune_trial import VALUE

OURS = ("metric", "mode", "time_attr", "max_t", "stop_last_trials")  # options that we set

_KNOWN: Mapping[str, type[TrialScheduler]] = {
    "asha": ASHAScheduler,
    "hyperband": HyperBand,
    "median": MedianStoppingRule,
}


def make_scheduler(name: str, options: Mapping[str, Any], stages: int) -> TrialScheduler:
    """Return a scheduler for jobs with so many stages.

    Args:
        name: ``asha``, ``hyperband``, ``median``, or an import string of a class.
        options: What it takes beside what is set here.
        stages: How many stages a job has that comes to its end.

    Raises:
        ConfigError: If there is no such scheduler, it does not stop trials early, or an option
            is unknown or has a bad value.
    """
    found = _scheduler(name)
    takes = inspect.signature(found).parameters
    for option in options:
        if option in OURS or option not in takes:
            free = [one for one in takes if one not in OURS]
            raise ConfigError(
                f"The scheduler {name!r} has no option {option!r} that can be set"
                f"{' (autoprune sets it)' if option in OURS else ''}."
                f"{did_you_mean(option, free)}"
            )
    ours: dict[str, Any] = {
        "metric": VALUE,
        "mode": "min",
        "time_attr": "training_iteration",  # counts stages
        "max_t": stages,
        "stop_last_trials": False,  # what gets through comes to its end
    }
    ours = {option: value for option, value in ours.items() if option in takes}
    try:
        return found(**ours, **options)
    except Exception as err:  # Ray checks by assertions
        given = ", ".join(f"{option}={value!r}" for option, value in options.items())
        raise ConfigError(
            f"The scheduler {name!r} cannot be made with {given or 'its defaults'} for "
            f"{stages} stages: {err or type(err).__name__}. Its time is counted in stages "
            "(recovery.stages of the search)."
        ) from err


def _scheduler(name: str) -> type[TrialScheduler]:
    if name in _KNOWN:
        return _KNOWN[name]
    if not is_import(name):
        raise ConfigError(
            f"Unknown scheduler {name!r}.{did_you_mean(name, _KNOWN)} A scheduler of your own is "
            "written 'module:Class' or './mine.py:Class'."
        )
    found = load_object(name, base=Path(), what="scheduler", error=ConfigError)
    if not (isinstance(found, type) and issubclass(found, TrialScheduler)):
        raise ConfigError(f"The scheduler {name!r} is no class of ray.tune's TrialScheduler.")
    if issubclass(found, PopulationBasedTraining | ResourceChangingScheduler):
        raise ConfigError(
            f"The scheduler {name!r} changes what a trial was given. A trial scores one policy, "
            "whose settings are fixed, or scores could not be compared. Choose one that stops "
            f"trials early: {', '.join(_KNOWN)}."
        )
    return found
