"""What a terminal shows of latency tables: built, checked against whole models, stored."""

from collections.abc import Mapping, Sequence

from rich.console import Console

from autoprune.agent.latency.built import BuiltLatency
from autoprune.agent.latency.check import CheckedLatency
from autoprune.agent.latency.stored import StoredLatencies
from autoprune.reporting.tables import standard_output, table

_SHORT = 12  # digits of a fingerprint


def print_built(found: Sequence[BuiltLatency], console: Console | None = None) -> None:
    """Print what building came to, a table for each target."""
    console = console or standard_output()
    for number, one in enumerate(found):
        rows = table(f"{chr(10) * (number > 0)}{one.target}", "", "")
        rows.show_header = False
        for label, text in _built_rows(one):
            rows.add_row(label, text)
        console.print(rows)


def _built_rows(one: BuiltLatency) -> list[tuple[str, str]]:
    steps = [str(step) for step in sorted(set(one.steps))]
    points = f"{one.measured} measured now, {one.reused} reused that were measured before"
    if one.busy:
        points += f"; {one.busy} while the device was busy, so their medians are less sure"
    return [
        ("device", _device(one.facts)),
        ("fingerprint", one.fingerprint[:_SHORT]),
        ("steps of channels", " and ".join(steps)),
        ("layers of the model", _layers(one)),
        ("sizes of layers", points),
        ("expected error of the tables", _reached(one)),
        (
            "whole models",
            f"{one.models} measured, which the tables are fitted to; one that the fit has not "
            f"seen is missed by {one.fit_error:.1%} on average",
        ),
        ("time for all of it", f"{one.seconds:.{0 if one.seconds >= 10 else 1}f} s"),
    ]


def _layers(one: BuiltLatency) -> str:
    text = f"{one.layers}, {one.timed} of them timed alone"
    return text if one.timed == one.layers else f"{text}; the others count by their multiply-adds"


def _reached(one: BuiltLatency) -> str:
    if one.error is None:
        return f"unknown: time ran out before every table was looked into ({one.asked:.1%} asked)"
    found = f"{one.error:.1%} of the layers' time, {one.asked:.1%} asked"
    return found if one.reached else f"{found}: time ran out. Give it more with --limit"


def _device(facts: Mapping[str, str]) -> str:
    """Return the facts, what it is first; the names of instructions are too long to show."""
    threads = facts.get("threads")
    parts = (facts.get("cpu"), facts.get("gpu"), threads and f"threads {threads}")
    shown = ("cpu", "gpu", "threads", "cores", "system", "instructions")
    others = [f"{name} {value}" for name, value in facts.items() if name not in shown]
    return ", ".join([*filter(None, parts), *others])


def print_checked(found: Sequence[CheckedLatency], console: Console | None = None) -> None:
    """Print each policy as predicted and as measured, and how well the two agree."""
    console = console or standard_output()
    for number, one in enumerate(found):
        columns = ("policy", "predicted ms", "measured ms", "error", "")
        title = f"{chr(10) * (number > 0)}{one.target}"
        rows = table(title, *columns, right=columns[:4])
        for place, policy in enumerate(one.policies, start=1):
            times = (f"{policy.predicted_ms:.4g}", f"{policy.measured_ms:.4g}")
            busy = "busy" if policy.busy else ""
            rows.add_row(str(place), *times, f"{policy.error:+.1%}", busy)
        console.print(rows)
        console.print(_agreement(one), soft_wrap=True)


def _agreement(one: CheckedLatency) -> str:
    rank = "unknown" if one.spearman is None else f"{one.spearman:.3f}"
    text = (
        f"Mean absolute percentage error {one.mape:.1%}, Spearman {rank}, "
        f"{len(one.policies)} policies; the dense model takes {one.dense_ms:.4g} ms."
    )
    if one.busy:
        text += (
            f"\nThe device was busy during {one.busy:.0%} of the comparisons: times varied "
            "widely, so part of the error is the measurement's. Check again when it is calm."
        )
    return text


def print_stored(found: Sequence[StoredLatencies], console: Console | None = None) -> None:
    """Print devices and targets with the number of measurements."""
    console = console or standard_output()
    if not found:
        console.print("Nothing is stored.")
        return
    columns = ("target", "stored", "fingerprint", "", "device")
    rows = table("Latencies of layers and of whole models", *columns, right=("stored",))
    for one in found:
        which = "this device" if one.this_device else ""
        count, device = f"{one.measurements:,}", _device(one.facts)
        rows.add_row(one.target, count, one.fingerprint[:_SHORT], which, device)
    console.print(rows)
