"""Real searches on a real PostgreSQL, and what the database and their results say of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import FrozenTrial

from autoprune.storage.database import Database
from autoprune.storage.records import Evaluation, Run
from autoprune.storage.study import close_study, open_study
from autoprune.storage.study_trials import ABANDONED
from tests.integration.conftest import finish, started_postgres, write_project

FIRST = """night's "first") OR ('1'='1"""
AGAIN, SHORT, FRONT = "again", "short; DROP TABLE ap_run", "front"
TRIALS = {FIRST: 17, AGAIN: 9, SHORT: 20, FRONT: 6}
MORE = {SHORT: ["--timeout", "0.001s"], FRONT: ["--pareto", "macs", "--points", "2"]}
# It is found to be prunable, for it is not trained then.
PICKY = """
        if self.training and self.stem.weight.shape[0] == 5:
            raise ArithmeticError("this width cannot be trained")
"""


@dataclass(frozen=True)
class World:
    """A server with searches.

    Args:
        url: The server.
        folder: Where the runs have their folders, by number.
    """

    url: str
    folder: Path

    def run(self, name: str) -> Run:
        with Database.open(self.url) as database:
            found = database.find_run(name)
        assert found is not None
        return found

    def trials(self, name: str, *states: str) -> list[FrozenTrial]:
        study = open_study(self.url, name, costs=["macs"] if name == FRONT else [])
        found = [one for one in study.get_trials() if not states or one.state.name in states]
        close_study(study)
        kept = [one for one in found if one.user_attrs.get("outcome") != ABANDONED]
        return sorted(kept, key=lambda one: (str(one.datetime_complete), one.number))

    def finalists(self, name: str) -> list[Evaluation]:
        with Database.open(self.url) as database:
            every = database.evaluations(self.run(name).id)
        return [one for one in every if one.outcome.startswith(("recovered", "outrun"))]

    def result(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out(name) / "result.json").read_text())
        return found

    def out(self, name: str) -> Path:
        return self.folder / f"run-{[*TRIALS].index(name)}"


@contextmanager
def searched(folder: Path) -> Iterator[World]:
    """Search four times on one server: the second run finds all its scores there."""
    write_project(folder)
    code = folder / "code.py"
    text = code.read_text()
    code.write_text(text.replace("def forward(self, x):\n", f"def forward(self, x):{PICKY}"))
    settings = yaml.safe_load((folder / "search.yaml").read_text())
    settings["recovery"] |= {"finalists": 3}
    (folder / "search.yaml").write_text(yaml.safe_dump(settings))
    with pytest.MonkeyPatch.context() as patch, started_postgres(patch) as url:
        patch.setenv("AUTOPRUNE_DATABASE", url)
        patch.chdir(folder)
        found = World(url, folder)
        for name in TRIALS:
            _search(patch, found.out(name), name, *MORE.get(name, ()))
        yield found


def _search(patch: pytest.MonkeyPatch, out: Path, name: str, *more: str) -> None:
    words = ["search", "search.yaml", "--name", name, "--out", str(out), "--quiet"]
    finish(patch, *words, "--trials", str(TRIALS[name]), *more)
