"""The dense model beside the pruned one, as rows of text."""

from collections.abc import Iterator
from dataclasses import dataclass

from autoprune.artifacts.result import Result
from autoprune.reporting.text import count_text, ms_text, share_text


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of the dense and of the pruned model."""

    label: str
    dense: str
    pruned: str
    change: str


def comparisons(result: Result) -> list[Comparison]:
    """Return quality on both splits, then the costs; 1 MAC = 2 FLOPs."""
    costs = [*_counted(result), *_without_zeros(result), *_of_parts(result)]
    return [
        *_qualities(result),
        *(
            Comparison(label, count_text(a, unit), count_text(b, unit), _of_dense(b, a))
            for label, a, b, unit in costs
        ),
        *_latencies(result),
    ]


_Cost = tuple[str, int, int, str]  # what it is, of the dense model, of the pruned one, its unit


def _qualities(result: Result) -> Iterator[Comparison]:
    dense, pruned, yardstick = result.dense, result.pruned, result.yardstick
    for split, a, b in (
        ("search split", dense.quality_search, pruned.quality_search),
        ("test split", dense.quality_test, pruned.quality_test),
    ):
        texts = (yardstick.text(a), yardstick.text(b), yardstick.change(a, b))
        yield Comparison(f"{result.metric}, {split}", *texts)


def _counted(result: Result) -> Iterator[_Cost]:
    """Yield what every model has."""
    dense, pruned = result.dense, result.pruned
    macs = "MACs (1 MAC = 2 FLOPs)"
    if result.uncounted:
        macs = f"MACs at least, without {', '.join(result.uncounted)}"
    yield macs, dense.macs, pruned.macs, ""
    yield "parameters", dense.params, pruned.params, ""
    yield "file size", dense.size_bytes, pruned.size_bytes, "B"
    yield "activation memory, one sample", dense.memory_bytes, pruned.memory_bytes, "B"


def _without_zeros(result: Result) -> Iterator[_Cost]:
    """Yield what it costs without weights that are zero, if some were set to it."""
    dense, pruned = result.dense, result.pruned
    if pruned.sparse_macs < pruned.macs or pruned.sparse_size_bytes < pruned.size_bytes:
        yield "MACs without zero weights", dense.sparse_macs, pruned.sparse_macs, ""
        sizes = (dense.sparse_size_bytes, pruned.sparse_size_bytes)
        yield "size if zeros are not stored", *sizes, "B"


def _of_parts(result: Result) -> Iterator[_Cost]:
    """Yield what single modules cost."""
    for cost, amount in result.dense.parts.items():
        yield cost, amount, result.pruned.parts[cost], ""


def _latencies(result: Result) -> Iterator[Comparison]:
    for target, a in result.dense.latency_ms.items():
        b = result.pruned.latency_ms.get(target)
        if b is not None:
            check = result.checks.latency.get(target)  # in pairs, which the limit is held to
            ratio = check.ratio if check else b / a
            texts = (ms_text(a), ms_text(b), f"{ratio:.1%} of dense")
            yield Comparison(f"latency, {target}", *texts)


def _of_dense(pruned: int, dense: int) -> str:
    return f"{share_text(pruned, dense)} of dense"
