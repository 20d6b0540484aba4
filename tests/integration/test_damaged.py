"""A run whose files were damaged: it is said, or what is shown does not depend on it."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

import autoprune
from autoprune.errors import ArtifactError
from tests.integration.conftest import finish

Run = Callable[..., tuple[int, str, str]]
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def made(user_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with a finished run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(user_folder)
        patch.setenv("AUTOPRUNE_DATABASE", str(tmp_path_factory.mktemp("shared") / "shared.db"))
        finish(patch, "search", "search.yaml", "--trials", "3", "--quiet")
    return user_folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a copy of the run; the project's copy is the working folder."""
    project = shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(project)
    return project / "run"


def flipped(start: float, size: int = 2000) -> Damage:
    """Return what turns all bits of some bytes round, from a share of the file on."""

    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        at = int(start * len(content))
        part = bytes(byte ^ 0xFF for byte in content[at : at + size])
        content[at : at + size] = part
        file.write_bytes(content)

    return damage


def cut(share: float) -> Damage:
    """Return what keeps so much of a file only."""

    def damage(file: Path) -> None:
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])

    return damage


def sql(*statements: str) -> Damage:
    """Return what does something to a database that autoprune would not."""

    def damage(file: Path) -> None:
        connection = sqlite3.connect(file)
        for one in statements:
            connection.execute(one)
        connection.commit()
        connection.close()

    return damage


def of_somebody_else(file: Path) -> None:
    file.unlink()
    sql("CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('dear')")(file)


TOLD = {
    "its header": flipped(0, 100),
    "its first words": flipped(0, 4),
    "nothing of it": lambda file: file.write_bytes(b"hello, this is no database" * 100),
    "half of it is gone": cut(0.5),
    "settings that are no JSON": sql("UPDATE ap_run SET config = '{'"),
    "settings that are a list": sql("UPDATE ap_run SET config = '[1]'"),
    "notes that are a number": sql("UPDATE ap_run SET kept = '3'"),
    "a day that is none": sql("UPDATE ap_run SET created_at = 'yesterday'"),
    "a newer autoprune": sql("UPDATE ap_alembic_version SET version_num = 'r9999'"),
}
# Only reports read these.
TOLD_BY_REPORT = {
    "policies that are lists": sql("UPDATE ap_evaluation SET policy = '[1]'"),
    "scores that are texts": sql("UPDATE ap_evaluation SET score = 'good'"),
    "scores without end": sql("UPDATE ap_evaluation SET score = 9e999"),
    "what was told is no JSON": sql("UPDATE trial_user_attributes SET value_json = '{'"),
    "states that are none": sql("UPDATE trials SET state = 'WHAT'"),
    "trials of no day": sql("UPDATE trials SET datetime_start = 'x'"),
}


def refused(ended: tuple[int, str, str]) -> None:
    code, _, err = ended
    assert code == 2, err
    assert "autoprune.db" in err or "database" in err.lower(), err
    assert err[err.rindex("autoprune: ") :].count("\n") == 1, "more than one paragraph"


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("command", ["ledger", "report"])
def test_a_damaged_database_is_told(
    command: str, name: str, run: Path, run_autoprune: Run
) -> None:
    TOLD[name](run / "autoprune.db")
    refused(run_autoprune(command, "run"))


@pytest.mark.parametrize("name", TOLD_BY_REPORT)
def test_a_damaged_row_is_told_by_a_report(name: str, run: Path, run_autoprune: Run) -> None:
    TOLD_BY_REPORT[name](run / "autoprune.db")
    page = (run / "report.html").read_bytes()
    refused(run_autoprune("report", "run"))
    assert (run / "report.html").read_bytes() == page, "the old one stays"


CHECKED = {
    "its header": flipped(0, 100),
    "half of it is gone": cut(0.5),
    "a table is gone": sql("DROP TABLE ap_ledger"),
    "another program's": of_somebody_else,
    "an older autoprune": sql("UPDATE ap_alembic_version SET version_num = 'r0003'"),
    "a newer Optuna": sql("UPDATE alembic_version SET version_num = 'v9.9.9'"),
}


@pytest.mark.parametrize("name", CHECKED)
def test_the_check_of_a_database_tells(name: str, run: Path, run_autoprune: Run) -> None:
    code, out, err = run_autoprune("db", "check", "--database", "run/autoprune.db")
    assert code == 0, out + err
    CHECKED[name](run / "autoprune.db")
    code, out, err = run_autoprune("db", "check", "--database", "run/autoprune.db")
    assert code in (1, 2)
    assert "wrong: " in out or "autoprune: " in err


OF_A_RESULT = ["weights.safetensors", "plan.json"]
DAMAGES: dict[str, Damage] = {
    "turned round": flipped(0.5, 64),
    "cut off": cut(0.9),
    "empty": cut(0),
    "gone": lambda file: file.unlink(),
    "another file": lambda file: file.write_bytes(file.with_name("run.json").read_bytes()),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("file", OF_A_RESULT)
def test_a_damaged_result_is_not_loaded(file: str, name: str, run: Path) -> None:
    assert autoprune.load(run, model="code.py:net")
    DAMAGES[name](run / file)
    with pytest.raises(ArtifactError, match=file.partition(".")[0]):
        autoprune.load(run, model="code.py:net")


MENDED = {
    "plan.json": "cut off",
    "result.json": "gone",
    "weights.safetensors": "turned round",
    "policy.json": "empty",
}


@pytest.mark.parametrize("file", MENDED)
def test_a_run_whose_result_is_damaged_comes_to_it_again(
    file: str, run: Path, run_autoprune: Run
) -> None:
    before = {one: (run / one).read_bytes() for one in OF_A_RESULT}
    DAMAGES[MENDED[file]](run / file)
    words = ("search.yaml", "--trials", "3", "--if-exists", "resume", "--quiet")
    code, _, err = run_autoprune("search", *words)
    assert code == 0, err
    assert {one: (run / one).read_bytes() for one in OF_A_RESULT} == before
