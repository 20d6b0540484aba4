"""CMA-ES as Optuna has it, but for its state: that is made anew from the trials, not unpickled."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from optuna.samplers import CmaEsSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial


class CmaEs(CmaEsSampler):
    """CMA-ES that keeps no state in the database.

    Optuna's own unpickles it from there, which runs whatever a stranger put in its place. The
    state follows from the trials alone: each generation is told once more.

    Args:
        seed: Seed of what it draws.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, warn_independent_sampling=False)
        self._completed: Sequence[FrozenTrial] = ()

    def _restore_optimizer(self, completed_trials: Sequence[FrozenTrial]) -> None:
        self._completed = completed_trials

    def _init_optimizer(self, trans: Any, direction: StudyDirection) -> Any:
        optimizer = super()._init_optimizer(trans, direction)
        sign = 1.0 if direction == StudyDirection.MINIMIZE else -1.0
        told = defaultdict[int, list[tuple[Any, float]]](list)
        for trial in self._completed:
            generation = trial.system_attrs.get(self._attr_key_generation)
            if isinstance(generation, int) and trial.value is not None:
                told[generation].append((trans.transform(trial.params), sign * trial.value))
        while len(told[optimizer.generation]) >= optimizer.population_size:
            optimizer.tell(told[optimizer.generation][: optimizer.population_size])
        return optimizer
