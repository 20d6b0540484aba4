"""Which of several processes scores a policy that they propose at the same moment."""

from collections.abc import Iterator

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from autoprune.agent.feasible.encoding import Rows

CLAIM = "autoprune:policy"  # system attribute: the row that a trial was given
_HELD = "held"  # last in the list of a claim that was looked at once
_TAKEN = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)


def claim(study: Study, trial: FrozenTrial, row: Rows) -> bool:
    """Tell others what a trial is going to score; False where that is for another trial.

    A claim is written twice, wanted and then held, and after each the others are looked at: a
    trial gives way to whoever holds the policy first, and to lower numbers. So no two keep one:
    had the later number not seen the earlier one at its second look, the earlier one would have
    found it held at its first. Nor do all give way to each other for ever, as they would if all
    who see another one did (compare Lamport 1974, the bakery).

    Args:
        study: The study.
        trial: One of its trials that is running.
        row: The policy, as of an `Encoding`.
    """
    _write(study, trial, [*row.tolist()])
    if any(held or number < trial.number for number, held in _rivals(study, trial, row)):
        return False
    _write(study, trial, [*row.tolist(), _HELD])
    return all(number > trial.number for number, _ in _rivals(study, trial, row))


def claimed(trial: FrozenTrial) -> Rows:
    """Return the policy that a trial claimed; an empty row without one."""
    return np.array([one for one in _claim(trial) if one != _HELD], np.int64)


def _claim(trial: FrozenTrial) -> list[int | str]:
    return list(trial.system_attrs.get(CLAIM, ()))


def _write(study: Study, trial: FrozenTrial, value: list[int | str]) -> None:
    study._storage.set_trial_system_attr(trial._trial_id, CLAIM, value)


def _rivals(study: Study, trial: FrozenTrial, row: Rows) -> Iterator[tuple[int, bool]]:
    """Yield the numbers of other trials that claim a policy, and whether they hold it."""
    study = getattr(study, "_study", study)  # Hyperband lets a sampler see a part
    wanted = row.tolist()
    for other in study.get_trials(deepcopy=False, states=_TAKEN):
        found = _claim(other)
        if other.number != trial.number and found[: len(wanted)] == wanted:
            yield other.number, found[-1] == _HELD
