"""How many policies are priced in a second."""

from time import perf_counter

import numpy as np

from autoprune.cost.model import CostModel
from autoprune.surgery.discover import plan_of
from benchmarks.isolated import Note
from benchmarks.latency.models import images
from benchmarks.surgery.build import build
from benchmarks.surgery.zoo import Model

POLICIES = 10_000


def measure(note: Note, repeats: int) -> None:
    """Note the median rate of exact costs of random policies of a ResNet-50."""
    note(stage="trace")
    model = build(Model(source="classification", name="resnet50", size=64))
    plan = plan_of(model, images(64))
    cost = CostModel(model, plan)
    atoms = np.array([plan.atoms[unit] for unit in cost.units])
    kept = np.random.default_rng(0).integers(1, atoms + 1, (POLICIES, len(atoms)))
    seconds = []
    for _ in range(repeats):
        start = perf_counter()
        cost.price_many(kept)
        seconds.append(perf_counter() - start)
    note(
        units=len(plan.of("channel", "head")), policies_per_s=POLICIES / float(np.median(seconds))
    )
