"""What earlier runs found: read, mapped to this search's spaces, kept with the run."""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from autoprune.agent.evaluating.outcomes import SCORED
from autoprune.agent.feasible.encoding import Encoding, params_near
from autoprune.agent.housing.home import Lodging
from autoprune.agent.housing.workspace import DATABASE, STUDY, WARM_START
from autoprune.agent.proposing.warm_start import EarlierRun, WarmStart
from autoprune.core.policy import Choice, Policy
from autoprune.errors import ConfigError
from autoprune.space.schema import UnitSpace
from autoprune.storage.database import Database
from autoprune.storage.engine import sqlite_url
from autoprune.storage.records import Evaluation, EvaluationKey

SPACES = {
    "a": UnitSpace("a", 8, ("channel.l1", "channel.l2"), (8, 6, 4, 2)),
    "b": UnitSpace("b", 12, ("channel.l2",), (12, 6)),
    "c": UnitSpace("c", 4, ("channel.l1", "channel.l2"), (4, 2)),
}


def policy(**sparsities: float) -> Policy:
    return Policy({unit: Choice("channel.l1", at) for unit, at in sparsities.items()})


def evaluation(one: Policy, score: float | None, outcome: str = SCORED) -> Evaluation:
    return Evaluation(one, outcome, score, score and -score, 5.0, 2.0, score=score)


def earlier_run(folder: Path, *found: Evaluation, ways: tuple[str, ...] = ()) -> Path:
    """Write the database of a run that found this, scored in one way unless told otherwise."""
    folder.mkdir()
    with Database.open(sqlite_url(folder / DATABASE)) as database:
        run = database.start_run(STUDY, {}, "model", "data")
        for at, one in enumerate(found):
            way = ways[at] if ways else "way"
            key = EvaluationKey("model", "data", one.policy.fingerprint, way)
            database.record_evaluation(run, key, one)
    return folder


class Lodged:
    """A run that keeps what it is told."""

    def __init__(self, own: Path) -> None:
        own.mkdir()
        self.own = own
        self.database = Database.open(sqlite_url(own / DATABASE))
        self.content: dict[str, Any] = {}

    def keep(self, name: str, content: Any) -> None:
        if content:
            self.content[name] = json.loads(json.dumps(content))

    def takes(self, *folders: Path) -> WarmStart:
        found = [str(folder) for folder in folders]
        return WarmStart.of(found, self.content.get(WARM_START, {}), self.own)

    def keeps(self, found: WarmStart, model: str = "model") -> None:
        found.keep(cast(Lodging, self), model, "data")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Lodged]:
    found = Lodged(tmp_path / "mine")
    yield found
    found.database.close()


# --- mapping


def test_a_policy_is_mapped_by_the_share_removed() -> None:
    other = Policy(
        {
            "a": Choice("channel.l2", 0.6),  # of 8 atoms 3.2 are left: 4 are nearer than 2
            "b": Choice("channel.l1", 0.2),  # not allowed here, and nearer to nothing
            "elsewhere": Choice("channel.l1", 0.5),
        }
    )
    assert params_near(other, SPACES) == {
        **{"level:a": 2, "method:a": "channel.l2", "level:b": 0},
        **{"level:c": 0, "method:c": "channel.l1"},
    }


def test_a_policy_of_these_spaces_is_mapped_to_itself() -> None:
    encoding = Encoding(SPACES)
    for row in encoding.random(np.random.default_rng(0), 50):
        own = encoding.policy(row)
        assert encoding.policy(encoding.row(params_near(own, SPACES))) == own


def test_a_run_of_another_model_is_refused() -> None:
    EarlierRun("there", [policy(a=0.5), policy(x=0.5, c=0.5)], [1.0, 2.0]).check(SPACES)
    with pytest.raises(ConfigError, match=r"there cannot .*3 units .* it cut 1, .*cut a, x, y; "):
        EarlierRun("there", [policy(a=0.5, x=0.5, y=0.5)], [1.0]).check(SPACES)


# --- reading


def test_what_was_scored_to_the_end_is_read(tmp_path: Path, run: Lodged) -> None:
    folder = earlier_run(
        tmp_path / "earlier",
        evaluation(policy(a=0.5), 2.0),
        evaluation(policy(a=0.25), None, "failed: it broke"),
        evaluation(policy(b=0.5), None, "stopped: early stop, worse"),
        evaluation(policy(c=0.5), 1.0),
        evaluation(policy(a=0.5, c=0.5), None),  # of a release that kept no score
        evaluation(policy(c=0.5), 0.1, "recovered"),
        ways=("way", "way", "way", "way", "way", "finalist"),
    )
    found = run.takes(folder)
    assert found.evaluations == 2
    (earlier,) = found.runs
    assert (earlier.folder, earlier.scores) == (str(folder), [2.0, 1.0])
    assert earlier.policies == [policy(a=0.5), policy(c=0.5)]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, run: Lodged) -> None:
    with pytest.raises(ConfigError, match=r"no/such holds no run: .* --warm-start"):
        run.takes(tmp_path / "no" / "such")
    with pytest.raises(ConfigError, match="holds no run"):
        WarmStart.of([str(tmp_path)], {}, tmp_path / "other")
    folder = earlier_run(tmp_path / "failed", evaluation(policy(a=0.5), None, "failed: it broke"))
    with pytest.raises(ConfigError, match="failed scored no policy to the end"):
        run.takes(folder)
    with pytest.raises(ConfigError, match="cannot be warm-started by itself"):
        WarmStart.of([str(folder)], {}, folder)


# --- keeping


def test_what_was_taken_is_kept_though_the_run_is_gone(tmp_path: Path, run: Lodged) -> None:
    folder = earlier_run(tmp_path / "earlier", evaluation(policy(a=0.5, b=0.5), math.pi))
    found = run.takes(folder)
    run.keeps(found)
    shutil.rmtree(folder)
    again = run.takes(folder)
    assert again.runs == found.runs
    with pytest.raises(ConfigError, match="holds no run"):
        WarmStart.of([str(folder)], {}, run.own)


def test_a_cold_start_keeps_nothing(run: Lodged) -> None:
    cold = run.takes()
    run.keeps(cold)
    assert (cold.evaluations, cold.known(Encoding(SPACES))) == (0, [])
    assert not run.content


@pytest.mark.parametrize(("model", "known"), [("model", True), ("other", False)])
def test_what_the_same_model_paid_for_is_free(
    tmp_path: Path, run: Lodged, model: str, known: bool
) -> None:
    one = policy(a=0.5)
    folder = earlier_run(tmp_path / "earlier", evaluation(one, 2.0))
    run.keeps(run.takes(folder), model)
    found = run.database.find_evaluation(EvaluationKey("model", "data", one.fingerprint, "way"))
    assert (found is not None) is known
    if found is not None:
        assert (found.policy, found.score) == (one, 2.0)
        assert found.sample_forwards == found.seconds == 0


def test_what_an_earlier_run_was_given_is_read_from_it_too(tmp_path: Path, run: Lodged) -> None:
    """Of a chain of searches the last one knows what the first one found, if it can compare."""
    one, two = policy(a=0.5), policy(b=0.5)
    folder = earlier_run(
        tmp_path / "earlier",
        evaluation(one, 2.0),
        evaluation(policy(c=0.5), 3.0),
        ways=("way", "other"),
    )
    run.keeps(run.takes(folder))
    number = run.database.start_run(STUDY, {}, "model", "data")
    key = EvaluationKey("model", "data", two.fingerprint, "way")
    run.database.record_evaluation(number, key, evaluation(two, 1.0))
    last = WarmStart.of([str(run.own)], {}, tmp_path / "last")
    assert last.runs[0].policies == [one, two]
