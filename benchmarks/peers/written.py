"""The files of a full run: everything as JSON, a table in Markdown, and pictures."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoprune.artifacts.files import write_text
from benchmarks.command import write_results
from benchmarks.peers.cells import Cell, cells, sections
from benchmarks.peers.figures import Table, best
from benchmarks.peers.limits import LIMITS, SEEDS
from benchmarks.peers.pictures import write_pictures
from benchmarks.peers.planned import planned
from benchmarks.peers.rivals import EVERYBODY, RIVALS
from benchmarks.work import Results

MISSING = "–"  # noqa: RUF001


def write(path: Path, results: Results, last: Mapping[str, Any]) -> None:
    """Write ``peers.json``, ``peers.md`` and the pictures beside it."""
    table = cells(results)
    summaries = {".".join(place): cell.summary() for place, cell in table.items()}
    write_results(path, results, {**last, "cells": summaries})
    write_text(path.with_suffix(".md"), markdown(table, results.get("dense", {})))
    write_pictures(path.with_suffix(""), table)


def markdown(table: Table, dense: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table, with what is missing marked.

    Args:
        table: All cells.
        dense: Facts of the dense models.
    """
    return "\n".join([*_head(table), *_sections(table, dense)]) + "\n"


def _head(table: Table) -> Iterator[str]:
    runs = list(planned())
    missing = sum(
        seed in table[subject, limit, rival].missing for subject, limit, rival, seed in runs
    )
    yield "# autoprune and others"
    yield ""
    yield (
        f"{len(runs) - missing} of {len(runs)} runs are done. Quality is the metric on the test "
        "split, in percent, mean and standard deviation over the seeds that are done; the best "
        "within the limit is in bold. MACs and latency are shares of the dense model's, `!` marks "
        "a limit that was missed. Search: thousands of forwards of one sample by the dense model "
        "(a sample trained on counts as three), and seconds on a machine that did other work too."
    )


def _sections(table: Table, dense: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for subject, limit in sections(table):
        rows = {place[2]: cell for place, cell in table.items() if place[:2] == (subject, limit)}
        if all(len(cell.missing) == len(SEEDS) for cell in rows.values()):
            continue
        known = dense.get(subject, {}).get("quality")
        whole = MISSING if known is None else f"{100 * known:.2f}"
        yield ""
        yield f"## {subject}, {_limit(limit)} (dense: {whole})"
        yield ""
        yield "| | quality | MACs | latency | search, forwards | s | seeds |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        first = best(table, subject, limit, RIVALS)
        for rival, cell in rows.items():
            yield _row(EVERYBODY[rival].label, cell, bold=rival == first)
        yield from _failures(rows)


def _limit(name: str) -> str:
    one = LIMITS[name]
    return f"{one.macs:.0%} of the MACs" if one.latency is None else f"{one.latency:.0%} latency"


def _row(label: str, cell: Cell, *, bold: bool) -> str:
    quality = _number(cell.mean("quality"), 100, 2)
    if (sd := cell.sd("quality")) is not None:
        quality += f" ± {100 * sd:.2f}"
    if cell.failures:
        quality = "failed" if not cell.runs else f"{quality}, failed {len(cell.failures)}"
    mark = " !" if cell.met is False else ""
    timed = cell.mean("latency_share") is not None
    parts = (
        f"**{quality}**" if bold else quality,
        _number(cell.mean("share"), 100, 1, "%") + ("" if timed else mark),
        _number(cell.mean("latency_share"), 100, 1, "%") + (mark if timed else ""),
        _number(cell.mean("forwards"), 1e-3, 0),
        _number(cell.mean("search_s"), 1, 0),
        f"{len(SEEDS) - len(cell.missing)} of {len(SEEDS)}",
    )
    return f"| {label} | {' | '.join(parts)} |"


def _number(value: float | None, factor: float, digits: int, unit: str = "") -> str:
    return MISSING if value is None else f"{factor * value:,.{digits}f}{unit}"


def _failures(rows: Mapping[str, Cell]) -> Iterator[str]:
    """Yield what those said that failed, each message once."""
    for rival, cell in rows.items():
        for message in dict.fromkeys(cell.failures.values()):
            yield ""
            yield f"{EVERYBODY[rival].label} failed: `{message.replace('`', '')}`"
