"""Tables of every target over what a search space allows, for a search and for their own verbs."""

from collections.abc import Mapping, Sequence

from autoprune.agent.latency.search import ERROR, LIMIT_S, TargetLatency
from autoprune.core.progress import ProgressCallback
from autoprune.errors import ModelError
from autoprune.space.schema import SearchSpace, UnitSpace
from autoprune.surgery.plan import Plan


def build_tables(
    latencies: Sequence[TargetLatency],
    plan: Plan,
    space: SearchSpace,
    progress: ProgressCallback,
    *,
    error: float = ERROR,
    limit_s: float = LIMIT_S,
    seed: int = 0,
) -> dict[str, UnitSpace]:
    """Measure the device's steps, build the tables, fit them, and return what the space allows.

    What the database knows already is not measured again.

    Args:
        latencies: What is known of the model's latency, one for each target.
        plan: The model's plan.
        space: What may be chosen.
        progress: Told how it goes on.
        error: Share of the layers' time by which the tables may be wrong.
        limit_s: Seconds after which the tables of one target are left as they are.
        seed: Chooses the whole models that the tables are fitted to.

    Raises:
        ConfigError: If a pattern of the space matches no unit.
        ModelError: If the space allows nothing, or a target cannot run the model.
    """
    spaces = allowed(space, plan, [latency.find_steps() for latency in latencies])
    kept = kept_of(plan, spaces)
    for latency in latencies:
        latency.build(kept, progress, error=error, limit_s=limit_s, seed=seed)
    return spaces


def allowed(
    space: SearchSpace, plan: Plan, steps: Sequence[tuple[int, int]] = ()
) -> dict[str, UnitSpace]:
    """Return what a space allows for each unit, in the coarsest of the devices' steps.

    Raises:
        ConfigError: If a pattern of the space matches no unit.
        ModelError: If it allows nothing.
    """
    finest, coarsest = (max((one[i] for one in steps), default=1) for i in (0, 1))
    spaces = space.resolve(plan.atoms, plan.kinds, (finest, coarsest))
    if not spaces:
        raise ModelError(
            "The search space protects every unit of this model, or its methods fit none. Free "
            "some of them, or allow methods of another structure."
        )
    return spaces


def kept_of(plan: Plan, spaces: Mapping[str, UnitSpace]) -> dict[str, tuple[int, ...]]:
    """Return the atoms kept at each level of each unit; those of no space are whole."""
    return {
        unit: spaces[unit].kept if unit in spaces else (atoms,)
        for unit, atoms in plan.atoms.items()
    }
