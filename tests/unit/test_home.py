"""Where a run lives: what somebody works on is not started over, and nothing of it is lost."""

from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from autoprune.agent.housing.company import Alone
from autoprune.agent.housing.heart import Heart
from autoprune.agent.housing.home import Home, Lodging
from autoprune.agent.housing.presence import Presence
from autoprune.agent.housing.workspace import RESULT, Workspace
from autoprune.agent.loop.trials import abandon
from autoprune.core.processes import this_host, this_process
from autoprune.errors import ElsewhereError, RunExistsError
from autoprune.storage.agents import Agents
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.study import remove_study
from autoprune.storage.study_trials import begin_trials, taken_over

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


@pytest.fixture
def lodging(tmp_path: Path) -> Iterator[Lodging]:
    with Database.open(sqlite_url(tmp_path / "server.db")) as shared:
        run = shared.start_run("night", CONFIG, "model", "data")
        heart = Heart(tmp_path)
        yield Lodging(
            database=shared,
            run_id=run,
            study="night",
            shared=shared,
            shared_id=run,
            presence=Presence(Agents(shared), run, heart),
            company=Alone(),
        )


@pytest.mark.parametrize(
    "use",
    [
        lambda study, trial: study.ask(),
        lambda study, trial: begin_trials(study, [{}], {}, [{"agent": "me"}]),
        lambda study, trial: trial.set_user_attr("agent", "me"),
        lambda study, trial: abandon(trial),
        lambda study, trial: study.tell(trial, 1.0),
        lambda study, trial: study.set_user_attr("seed", 1),
        lambda study, trial: taken_over(study, [trial]),
    ],
)
def test_who_uses_a_study_that_somebody_removed_is_told_so(
    lodging: Lodging, use: Callable[[optuna.Study, optuna.Trial], object]
) -> None:
    def work() -> None:
        with lodging.opened(optuna.samplers.RandomSampler(0), []) as study:
            trial = study.ask()
            remove_study(lodging.database.url, lodging.study)
            use(study, trial)

    with pytest.raises(ElsewhereError, match="Somebody removed this run"):
        work()


def test_what_fails_while_the_study_is_there_stays_as_it_is(lodging: Lodging) -> None:
    with (
        pytest.raises(KeyError, match="no such unit"),
        lodging.opened(optuna.samplers.RandomSampler(0), []),
    ):
        raise KeyError("no such unit")
