"""What a model costs, in the units used everywhere."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Exact costs of one model.

    Args:
        macs: Multiply-adds of convolutions and matrix products for one sample (1 MAC = 2 FLOPs).
        params: Number of parameter elements, tied ones counted once.
        size: Bytes of the model's safetensors file, header included.
    """

    macs: int
    params: int
    size: int

    def as_dict(self) -> Mapping[str, int]:
        """Return the costs by name, the names a budget uses."""
        return asdict(self)
