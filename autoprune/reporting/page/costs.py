"""What is said of time: of latency, of where the time went, and how it is done again."""

from collections.abc import Iterator

from autoprune.core.policy import Policy
from autoprune.reporting.evidence import LatencyTable, RunEvidence
from autoprune.reporting.figures.latency import latency_figure
from autoprune.reporting.figures.spending import spending_figure
from autoprune.reporting.page.parts import Chart, Table
from autoprune.reporting.text import count_text, ms_text


def latency_chart(run: RunEvidence, at: str) -> Chart | None:
    """Return the table beside what was measured, None where latency was not limited."""
    checks = run.result.checks.latency if run.result else {}
    if not any(one.target in checks for one in run.latency):
        return None
    note = "Measured in pairs with the dense model; the bar is the 95% interval of their ratio."
    return Chart(
        f"{at}-latency", "Table and measurement", latency_figure(run.latency, checks), note
    )


def devices_table(run: RunEvidence) -> Table | None:
    """Return what predicted latencies, None where latency was not limited."""
    if not run.latency:
        return None
    names = (
        *("target", "device", "fingerprint", "by the table", "measured"),
        *("layers timed", "whole models", "error of the fit"),
    )
    rows = [
        (
            one.target,
            ", ".join(one.device[key] for key in ("cpu", "gpu") if one.device.get(key)),
            one.fingerprint[:12],
            "" if one.predicted_ms is None else ms_text(one.predicted_ms),
            _measured(run, one),
            str(one.layers),
            str(one.models),
            f"{one.error:.1%}",
        )
        for one in run.latency
    ]
    return Table(names, rows, names[3:])


def _measured(run: RunEvidence, table: LatencyTable) -> str:
    check = run.result.checks.latency.get(table.target) if run.result else None
    return "" if check is None else ms_text(check.pruned_ms)


def spent_parts(run: RunEvidence, at: str) -> tuple[Chart, Table]:
    """Return where the time went, as a figure and as a table."""
    names = ("part", "seconds", "sample forwards")
    rows = [
        (
            one.part,
            "not written down" if one.seconds is None else f"{one.seconds:,.1f}",
            "" if one.sample_forwards is None else count_text(round(one.sample_forwards)),
        )
        for one in run.spent
    ]
    chart = Chart(f"{at}-spent", "Seconds and sample forwards by part", spending_figure(run.spent))
    return chart, Table(names, rows, names[1:])


def facts_of(run: RunEvidence) -> Iterator[tuple[str, str]]:
    """Yield versions, seed and fingerprints, by name."""
    yield "begun", run.begun.isoformat(" ", "seconds")
    yield "seed", str(run.settings.get("seed", ""))
    if run.told is not None:
        yield from run.told.versions.items()
    yield "model fingerprint", run.model_fp
    yield "data fingerprint", run.data_fp
    if run.result is not None:
        policy = {name: one.model_dump() for name, one in run.result.policy.items()}
        yield "policy fingerprint", Policy.from_dict(policy).fingerprint
