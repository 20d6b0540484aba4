"""Tables against whole models that were measured end to end."""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from autoprune.agent.latency.check import check_tables
from autoprune.agent.latency.search import TargetLatency
from autoprune.agent.latency.tables import kept_of
from autoprune.core.target import Target
from autoprune.cost.latency.model import PARTS
from autoprune.space.loader import load_space
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.surgery.discover import plan_of
from benchmarks.isolated import Note
from benchmarks.latency.models import build, images


def check(note: Note, model: str, size: int, target: str, policies: int) -> None:
    """Build the tables of a model from nothing and note how they do on policies not seen.

    What is measured is compared in pairs with the dense model and given in its milliseconds when
    the fit was made, so that a machine that changes its pace meanwhile does not count.
    """
    note(stage="trace")
    network, inputs = build(model), images(size)
    plan = plan_of(network, inputs)
    with TemporaryDirectory() as folder, closing(_database(Path(folder))) as database:
        latency = TargetLatency.of(network, plan, inputs, Target.parse(target), database)
        note(stage="build")
        start = perf_counter()
        steps = latency.find_steps()
        spaces = load_space("default").resolve(plan.atoms, plan.kinds, steps)
        kept = kept_of(plan, spaces)
        priced = latency.build(kept, lambda _: note(stage="build"))
        standing = latency.standing
        assert standing is not None
        note(
            build_s=perf_counter() - start,
            steps=steps,
            points=standing.measured,
            table_s=standing.seconds,
            table_error=standing.error,
            fit_error=priced.fit.error,
            fit=dict(zip(PARTS, priced.fit.weights, strict=True)),
        )
        checked = check_tables(latency, kept, policies, lambda _: note(stage="check"), seed=5)
        note(
            mape=checked.mape,
            spearman=checked.spearman,
            busy=checked.busy,
            predicted_ms=[round(one.predicted_ms, 4) for one in checked.policies],
            measured_ms=[round(one.measured_ms, 4) for one in checked.policies],
        )


def _database(folder: Path) -> Database:
    return Database.open(sqlite_url(folder / "latency.db"))
