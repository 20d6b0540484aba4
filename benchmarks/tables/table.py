"""What is stored of a table: arrays in one compressed file, facts as JSON beside them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from autoprune.errors import ConfigError

FOLDER = Path(__file__).parent
_WEIGHTS = "weights."
Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Every maximal policy of a search space with its scores.

    Args:
        levels: ``policies x units``.
        codes: Place of the method in the list of methods, ``policies x units``; 0 if untouched.
        share: MACs as a share of the dense network's, ``policies``.
        forwards: Cost of one evaluation in forwards of one sample, ``policies``.
        loss: ``policies x seeds``, NaN where a seed did not score a policy; the first did all.
        quality: Accuracy, likewise.
        single: Unit, level and code of each unit pruned alone, ``rows x 3``.
        single_share: MACs of these, ``rows``.
        single_loss: Their losses, recalibrated alone and after the score's training,
            ``rows x 2``.
        single_quality: Accuracy, likewise.
        weights: The trained dense network's state, by name.
        facts: ``units``, ``kept`` atoms by unit, ``methods``, the recipe's ``settings``, the
            ``dense`` network (recalibrated alone and after the score's training), ``seconds`` of
            scoring, ``machine`` and ``commit``.
    """

    levels: Codes
    codes: Codes
    share: Floats
    forwards: Floats
    loss: Floats
    quality: Floats
    single: Codes
    single_share: Floats
    single_loss: Floats
    single_quality: Floats
    weights: Mapping[str, torch.Tensor]
    facts: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write the table; a crash leaves the old file or the new one."""
        partial = path.with_name(f".{path.stem}.partial.npz")
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {_WEIGHTS + name: value.numpy() for name, value in self.weights.items()}
        np.savez_compressed(partial, facts=np.array(json.dumps(self.facts)), **arrays)
        partial.replace(path)

    @classmethod
    def load(cls, name: str, folder: Path = FOLDER) -> "Table":
        """Read the table called ``name``.

        Raises:
            ConfigError: If there is no such table.
        """
        path = folder / f"{name}.npz"
        if not path.is_file():
            known = ", ".join(sorted(one.stem for one in folder.glob("*.npz"))) or "none"
            raise ConfigError(
                f"There is no table {name!r}; there are {known}. "
                f"Make it: python -m benchmarks.tables make {name}"
            )
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = {one: file[one] for one in _ARRAYS}
            weights = {
                one.removeprefix(_WEIGHTS): torch.from_numpy(file[one])
                for one in file.files
                if one.startswith(_WEIGHTS)
            }
            return cls(**arrays, weights=weights, facts=json.loads(str(file["facts"])))


_ARRAYS = [one.name for one in fields(Table) if one.name not in ("weights", "facts")]
