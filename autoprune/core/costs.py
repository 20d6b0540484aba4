"""What a model costs, in the units used everywhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field

EXACT = ("macs", "params", "size", "memory", "sparse_macs", "sparse_size")
PARTS = ("macs", "params")  # what one module may have a limit of its own on: ``macs@visual``
LATENCY = "latency@"  # starts the name of a latency, which ends with its target
_WHOLE_MS = 100  # from here on fractions are noise, and three digits would need an exponent


def cost_text(name: str, amount: float) -> str:
    """Return an amount of a cost as messages show it."""
    if not name.startswith(LATENCY):
        return f"{amount:,}"
    return f"{amount:,.0f} ms" if amount >= _WHOLE_MS else f"{amount:.3g} ms"


def part_of(cost: str) -> tuple[str, str] | None:
    """Return kind and module of what a part of the model costs; None for any other cost."""
    kind, _, module = cost.partition("@")
    return (kind, module) if kind in PARTS and module else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Costs of one model.

    Args:
        macs: Multiply-adds of convolutions and matrix products for one sample (1 MAC = 2 FLOPs).
        params: Number of parameter elements, tied ones counted once.
        size: Bytes of the model's safetensors file, header included.
        memory: Bytes of activations alive at the peak of one eager forward, inputs included,
            weights not, per sample of the traced batch.
        sparse_macs: ``macs`` without those that multiply with a weight set to zero.
        sparse_size: ``size`` if weights with zeros were stored as a bit mask and what is not
            zero.
        latency: Milliseconds of one forward, by target.
        parts: Multiply-adds and parameters of single modules, by name: ``macs@visual``.
    """

    macs: int
    params: int
    size: int
    memory: int
    sparse_macs: int
    sparse_size: int
    latency: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, int | float]:
        """Return the costs by name, the names a budget uses."""
        exact: dict[str, int | float] = {name: getattr(self, name) for name in EXACT}
        return (
            exact
            | dict(self.parts)
            | {LATENCY + target: ms for target, ms in self.latency.items()}
        )
