"""Our sampler with one part taken out."""

from autoprune.agent.samplers.names import SAMPLERS, budgeted

WITHOUT = {
    "no_predictor": budgeted(predicts=False),
    "no_coefficients": budgeted(coefficients=False),
    "no_rollback": budgeted(rollback=0.0),
    "no_switches": budgeted(rollback=0.0, switches=False),
}


def register() -> None:
    """Make the ablated samplers known by name in this process."""
    for name, kind in WITHOUT.items():
        if name not in list(SAMPLERS):
            SAMPLERS.add(name, kind)
