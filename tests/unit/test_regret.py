"""The verdict on a decision, and the ledger it is kept in."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from autoprune.agent.feasible.projection import Projection
from autoprune.agent.rollback.regret import LEVEL, examined, level_of
from autoprune.agent.samplers.decisions import TRIES, pairs
from autoprune.artifacts.result import Rolledback
from autoprune.cli.main import app
from autoprune.core.ledger import LedgerEntry, Outcome
from autoprune.core.policy import Choice, Policy
from autoprune.core.stages import Stage
from autoprune.core.yardstick import Yardstick
from autoprune.errors import ArtifactError, ElsewhereError
from autoprune.ledger_api import ledger as read_ledger
from autoprune.reporting.ledger_terminal import print_ledger, totals_line
from autoprune.reporting.tables import PlainConsole
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.ledger import Ledger
from autoprune.storage.models import LedgerRow
from autoprune.storage.records import Evaluation
from autoprune.testing.chains import chain

WIDTHS = {name: [16, 12, 8, 4] for name in "abcd"}
PROJECTION = chain(WIDTHS, "macs=50%")
BATCHES = 16


def policy(**sparsities: float) -> Policy:
    return Policy({unit: Choice("channel.l1", share) for unit, share in sparsities.items()})


def scored(at: Policy, losses: np.ndarray, quality: float = 0.9) -> Evaluation:
    loss = float(losses.mean())
    stage = Stage(20, BATCHES * 10, loss, tuple(losses.tolist()), quality)
    return Evaluation(at, "scored", loss, quality, 100.0, 1.0, stages=(stage,))


BEFORE = policy(a=0.75, b=0.25, c=0.5, d=0.5)
AFTER = policy(a=0.25, b=0.75, c=0.5, d=0.5)
LOSSES = np.linspace(0.4, 0.6, BATCHES)


def verdict(after: Evaluation, projection: Projection = PROJECTION) -> LedgerEntry:
    return examined(("a",), scored(BEFORE, LOSSES), after, projection, expected=0.45)


def test_what_is_better_on_the_same_samples_is_reverted() -> None:
    entry = verdict(scored(AFTER, LOSSES - 0.1 + np.tile([0.01, -0.01], 8), quality=0.95))
    assert entry.outcome is Outcome.REVERTED
    assert entry.regret == pytest.approx(0.1)
    assert entry.expected_regret == pytest.approx(0.05)
    assert entry.p_value is not None
    assert entry.p_value < entry.threshold == level_of(1, 4)
    assert entry.paid_by == ("b",)
    assert entry.costs_before["macs"] == PROJECTION.costs_of(BEFORE).macs
    assert entry.costs_after["macs"] == PROJECTION.costs_of(AFTER).macs
    assert entry.sample_forwards == 100.0


@given(cut=st.integers(1, 100))
def test_the_level_is_shared_out_among_all_decisions(cut: int) -> None:
    family = cut * level_of(1, cut) + (pairs(cut) * level_of(2, cut) if cut > 1 else 0)
    assert TRIES * family == pytest.approx(LEVEL if cut > 1 else 0.8 * LEVEL)


def test_a_ledger_is_readable_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    better = verdict(scored(AFTER, LOSSES - 0.1 + np.tile([0.01, -0.01], 8), quality=0.95))
    far = replace(better, outcome=Outcome.TOO_FAR, step=2, alternative=policy(c=0.5, d=0.5))
    print_ledger([better, far], Yardstick(metric="top-1"), PlainConsole(width=80))
    lines = capsys.readouterr().out.splitlines()
    assert "a: 75% to 25% by channel.l1" in lines[2]
    assert lines[2].split()[-5:] == ["+0.100", "+0.050", "+5.00", "points", "reverted"]
    assert [line.strip() for line in lines[3:5]] == ["paid by b: 25% to 75% by", "channel.l1"]
    assert lines[5].split()[:2] == ["2", "a:"]
    assert "a: 75% by channel.l1 to" in lines[5]
    assert all(len(line) <= 80 for line in lines[:9])
    assert "change: of top-1 on the search split" in lines[10]
    assert f"too far: {Outcome.TOO_FAR.value}" in lines
    assert lines[-1].startswith("1 decision examined, 1 reverted")
    assert lines[-1].endswith("Steps of progressive runs that went too far: 1.")


def test_a_difference_that_may_be_noise_reverts_nothing() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, BATCHES)
    entry = verdict(scored(AFTER, LOSSES - 0.02 + noise - noise.mean()))
    assert entry.outcome is Outcome.NOISE
    assert entry.regret == pytest.approx(0.02)


def test_worse_stopped_and_failed_alternatives_say_so() -> None:
    assert verdict(scored(AFTER, LOSSES + 0.1)).outcome is Outcome.WORSE
    stopped = Evaluation(AFTER, "stopped: early stop, worse", None, None, 50.0, 1.0)
    assert verdict(stopped).outcome is Outcome.STOPPED
    failed = Evaluation(AFTER, "failed: NaN", None, None, 0.0, 0.0)
    assert verdict(failed).outcome is Outcome.FAILED
    assert verdict(failed).regret is None


def test_a_single_batch_proves_nothing() -> None:
    one = Evaluation(
        AFTER, "scored", 0.1, 0.99, 1.0, 1.0, stages=(Stage(20, 10, 0.1, (0.1,), 0.99),)
    )
    before = Evaluation(
        BEFORE, "scored", 0.9, 0.5, 1.0, 1.0, stages=(Stage(20, 10, 0.9, (0.9,), 0.5),)
    )
    entry = examined(("a",), before, one, PROJECTION)
    assert entry.outcome is Outcome.NOISE
    assert entry.p_value is None


def test_noise_takes_back_a_good_decision_in_one_policy_of_twenty_at_most() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(300):
        entries = (verdict(scored(AFTER, LOSSES + rng.normal(0, 0.05, BATCHES))) for _ in range(4))
        wrong += any(entry.outcome is Outcome.REVERTED for entry in entries)
    assert 1 <= wrong <= 300 * LEVEL * 1.6


# --- the ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Database.open(sqlite_url(tmp_path / "autoprune.db")) as database:
        yield Ledger(database, database.start_run("autoprune", {}, "m", "d"))


ENTRIES = [
    verdict(scored(AFTER, LOSSES - 0.1, quality=0.95)),
    verdict(scored(policy(a=0.5, c=0.75), LOSSES + 0.1)),
    verdict(Evaluation(policy(d=0.75), "failed: NaN", None, None, 0.0, 0.0)),
]


def test_entries_come_back_as_they_were_and_are_there_once(ledger: Ledger) -> None:
    for entry in [*ENTRIES, *ENTRIES]:
        ledger.add_all([entry])
    assert ledger.entries() == ENTRIES


def test_what_cannot_be_kept_is_no_entry_that_was_there(ledger: Ledger) -> None:
    nowhere = Ledger(ledger._database, 99)
    with pytest.raises(ElsewhereError, match="removed"):
        nowhere.add_all([ENTRIES[0]])
    assert ledger.entries() == []


def test_an_outcome_of_a_later_version_is_named(ledger: Ledger) -> None:
    ledger.add_all([ENTRIES[0]])
    with ledger._database.transaction() as session:
        session.query(LedgerRow).update({"outcome": "postponed"})
    with pytest.raises(ArtifactError, match="'postponed', which this version does not know"):
        ledger.entries()


def test_totals_sum_up() -> None:
    totals = Rolledback.of(ENTRIES)
    assert (totals.examined, totals.reverted, totals.together) == (3, 1, 0)
    assert totals.quality_regained == pytest.approx(0.05)
    assert totals.sample_forwards == 200.0
    said = totals_line(totals, Yardstick(metric="top-1"))
    assert "3 decisions examined, 1 reverted, top-1 on the search split +5.00 points by" in said
    better = verdict(scored(policy(a=0.5, c=0.75), LOSSES - 0.2, quality=0.96))
    assert better.outcome is Outcome.REVERTED
    assert Rolledback.of([*ENTRIES, better]).quality_regained == pytest.approx(0.06)
    assert totals_line(Rolledback(), Yardstick()) == "No decision was examined."


def test_an_empty_ledger_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_ledger([], Yardstick())

    assert capsys.readouterr().out.startswith(
        "No decision was examined. Only the sampler budgeted"
    )


def test_the_command_shows_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    for entry in ENTRIES:
        ledger.add_all([entry])
    (tmp_path / "run.json").write_text("{}")
    assert read_ledger(tmp_path) == ENTRIES
    shown = CliRunner().invoke(app, ["ledger", str(tmp_path)])
    assert shown.exit_code == 0
    assert "a: 75% to 25% by channel.l1" in shown.stdout
    assert "paid by b: 25% to 75% by channel.l1" in shown.stdout
    assert Outcome.REVERTED.value in shown.stdout
    content = json.loads(CliRunner().invoke(app, ["ledger", str(tmp_path), "--json"]).stdout)
    assert content["totals"]["reverted"] == 1
    assert [one["outcome"] for one in content["entries"]] == ["reverted", "worse", "failed"]
    assert content["entries"][0]["paid_by"] == ["b"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="There is no run in"):
        read_ledger(tmp_path)


def test_a_point_of_a_front_says_where_its_run_is(tmp_path: Path) -> None:
    for name in ("autoprune.db", "run.json"):
        (tmp_path / name).touch()
    with pytest.raises(ArtifactError, match=f"It may be a point of the run in {tmp_path}"):
        read_ledger(tmp_path / "point-1")
