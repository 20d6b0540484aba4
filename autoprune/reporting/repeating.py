"""Whether a run gives the same model if it is done again, and why it may not."""

from collections.abc import Iterator

from autoprune.core.costs import LATENCY
from autoprune.reporting.evidence import RunEvidence


def promise(run: RunEvidence) -> str:
    """Return what to expect of a run that is done again, in one or two sentences."""
    same = (
        "With the same versions, data, seed, device and number of threads it gives the same model"
    )
    reasons = list(_reasons(run))
    if reasons:
        return f"Done again it may give another model: {'; '.join(reasons)}."
    if not run.sessions:
        return (
            "How many workers it had, and whether its time was limited, was not written down. "
            f"{same} if one worker has as much time as it needs."
        )
    return f"{same}."


def _reasons(run: RunEvidence) -> Iterator[str]:
    """Yield what keeps two runs from being alike."""
    if any(cost.startswith(LATENCY) for cost in run.settings.get("budget") or ()):
        yield "latency is limited, and no two measurements of it are the same"
    timeouts = {one["timeout"] for one in run.sessions if one.get("timeout") is not None}
    if timeouts:
        longest = f"{max(timeouts):g} s"
        yield f"how many policies are scored before the timeout ({longest}) depends on load"
    if any(one.get("workers") != 1 or one.get("joined") for one in run.sessions):
        yield "several may have scored at a time, and the order of scores decides what is tried"
    if any(str(one.get("device", "cpu")) != "cpu" for one in run.sessions):
        yield "it computed on a GPU, which may sum in another order"
    if run.settings.get("recover"):
        yield f"finalists were trained by {run.settings['recover']}, which autoprune does not know"
