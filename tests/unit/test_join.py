"""Agents that join a run: what they wait for, and what ends their waiting."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from autoprune.agent import join
from autoprune.core.progress import silent
from autoprune.core.workers import inline
from autoprune.errors import ElsewhereError
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Run


def joined(run: Run) -> int:
    task: Any = None
    return join.join_run(
        run,
        nn.Identity(),
        task,
        recover=None,
        database=None,
        runner={},
        device="cpu",
        hire=inline,
        patience=0.0,
        progress=silent,
    )


def test_a_run_that_is_removed_while_agents_wait_is_not_begun_by_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqlite_url(tmp_path / "shared.db")
    monkeypatch.setattr(join, "shared_database", lambda given: Database.open(url))
    begun = datetime.now(UTC)
    facts: Any = {"model_fp": "m", "data_fp": "d", "kept": {}, "outcome": None}
    run = Run(id=1, name="gone", created_at=begun, config={"tolerance": None}, **facts)
    with pytest.raises(ElsewhereError, match="Somebody removed this run"):
        joined(run)
    with Database.open(url) as database:
        assert database.find_run("gone") is None
        database.start_run("gone", {}, "m", "d")
    with pytest.raises(ElsewhereError, match="was not ready within 0 s"):
        joined(run)
