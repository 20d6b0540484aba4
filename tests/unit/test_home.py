"""Where a run lives: what somebody works on is not started over, and nothing of it is lost."""

from pathlib import Path

import pytest

from autoprune.agent.housing.home import Home
from autoprune.agent.housing.workspace import RESULT, Workspace
from autoprune.core.processes import this_host, this_process
from autoprune.errors import RunExistsError
from autoprune.storage.agents import Agents
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url

CONFIG = {"budget": {"macs": "50%"}, "trials": 9, "seed": 0}


def test_a_run_that_agents_work_on_is_not_touched_before_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "is_server", True)
    folder = tmp_path / "night"
    workspace = Workspace(folder, "overwrite")
    with Database.open(sqlite_url(tmp_path / "server.db")) as shared, workspace.hold():
        home = Home(shared=shared, workspace=workspace, name="night", if_exists="overwrite")
        home.check(CONFIG)
        workspace.start(CONFIG)
        (folder / RESULT).write_text("{}")
        run = shared.start_run("night", CONFIG, "model", "data")
        Agents(shared).join(run, this_host(), this_process())
        with pytest.raises(RunExistsError, match="Stop them before it is overwritten"):
            home.check(CONFIG | {"seed": 1})
        with (
            pytest.raises(RunExistsError, match="Stop them before it is overwritten"),
            home.entered(CONFIG | {"seed": 1}, model_fp="model", data_fp="data"),
        ):
            pytest.fail("it was begun")
        assert (folder / RESULT).exists()
        stored = workspace.stored()
        assert stored is not None
        assert stored["seed"] == 0
