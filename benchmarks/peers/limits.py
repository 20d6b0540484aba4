"""What everybody has to keep within, and how often everybody tries."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit.

    Args:
        macs: On multiply-adds, as a share of the dense model's.
        latency: On latency of `protocol.TARGET` on this machine, as a share, for those that know
            such limits; the others are given ``macs``. None where it is on multiply-adds.
    """

    macs: float
    latency: float | None = None


LIMITS: Mapping[str, Limit] = {
    "50%": Limit(macs=0.5),
    "35%": Limit(macs=0.35),
    "25%": Limit(macs=0.25),
    "latency50%": Limit(macs=0.5, latency=0.5),
}
SEEDS = (0, 1, 2)
EVALUATIONS = 40  # policies that others' searches score, each trained for 80 steps before
OWN_EVALUATIONS = 100  # that ours scores: with its sensitivity table it costs no more than those
