"""How a model's units are probed for the sensitivity table."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from autoprune.core.numbers import check_at_least
from autoprune.core.words import check_choice

Levels = Literal["quick", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """Settings of the sensitivity table.

    Args:
        samples: Samples of the search split that loss and metric are taken on, in whole parts
            of at most 32; all of them if the split has fewer.
        calibration: Training samples that norms are recalibrated on, in whole batches.
        levels: ``full`` measures every method at every level; ``quick`` every method at the
            middle level, and the best of them at a few others.

    Raises:
        ConfigError: If a value is out of range.
    """

    samples: int = 128
    calibration: int = 128
    levels: Levels = "quick"

    def __post_init__(self) -> None:
        check_at_least("samples", self.samples, 1, int)
        check_at_least("calibration", self.calibration, 1, int)
        check_choice("levels", self.levels, get_args(Levels))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)
