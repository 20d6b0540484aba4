"""CMA-ES as Optuna has it, but for its state in the database: numbers only are read from it."""

import io
import pickle
from collections.abc import Sequence
from typing import Any

from optuna.samplers import CmaEsSampler
from optuna.trial import FrozenTrial

from autoprune.errors import InfrastructureError

_STATES = "cma:optimizer:"  # Optuna keeps the state in pieces, numbered from 0
_ARRAYS = ("numpy._core.multiarray", "numpy.core.multiarray")  # from NumPy 2 on, and before
_ALLOWED = {("cmaes._cma", "CMA"), ("numpy", "dtype"), ("numpy", "ndarray")} | {
    (module, name) for module in _ARRAYS for name in ("scalar", "_reconstruct")
}


class CmaEs(CmaEsSampler):
    """CMA-ES; Optuna's own would run what a stranger put in place of its state."""

    def _restore_optimizer(self, completed_trials: Sequence[FrozenTrial]) -> Any:
        for trial in reversed(completed_trials):
            names = (f"{_STATES}{at}" for at in range(len(trial.system_attrs)))
            pieces = [trial.system_attrs[name] for name in names if name in trial.system_attrs]
            if pieces:
                return _Numbers(io.BytesIO(bytes.fromhex("".join(pieces)))).load()
        return None


class _Numbers(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise InfrastructureError(
                f"The database holds, as the state of CMA-ES, something that asks for {module}."
                f"{name}, which no such state does. It was not run. Find out who writes to the "
                "database; to go on without it, begin a run of another name."
            )
        return super().find_class(module, name)
