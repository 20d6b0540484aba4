"""Schedules mean the same to every scheduler, and names are those that schedulers take."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprune.cli.search_settings import seconds_of
from autoprune.errors import ConfigError
from autoprune.execution.jobs.job import read_job
from autoprune.execution.jobs.schedule import Schedule

SEARCH = "model: code.py:net\ndata: code.py:loaders\nbudget: {macs: 50%}\nout: runs/My Net_2\n"


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """Return fields of cron within bounds: stars, steps, numbers, ranges and lists."""
    number = st.integers(low, high)
    ranges = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    steps = st.integers(1, 5).map(lambda step: f"*/{step}")
    single = st.one_of(number.map(str), ranges)
    lists = st.lists(single, min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), steps, lists)


@given(st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)))
def test_what_cron_knows_is_taken_and_fires(fields: tuple[str, ...]) -> None:
    schedule = Schedule.parse("  ".join(fields))
    assert str(schedule) == " ".join(fields)
    assert schedule.shortest_gap() >= timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "gap"),
    [("0 2 * * *", 24), ("0 2 * * mon-fri", 24), ("0 2 * * SUN", 168), ("0 */6 * * *", 6)],
)
def test_the_shortest_gap_is_that_of_the_schedule(text: str, gap: int) -> None:
    assert Schedule.parse(text).shortest_gap() == timedelta(hours=gap)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 2 * *", r"five fields: minute, hour, .* Got 4 in '0 2 \* \*'"),
        ("0 0 2 * * *", r"five fields.* Got 6"),
        ("", r"Got 0"),
        ("@daily", r"Got 1"),
        ("61 2 * * *", r"'61' is no minute"),
        ("0 24 * * *", r"'24' is no hour"),
        ("0 2 0 * *", r"'0' is no day of month"),
        ("0 2 * 13 *", r"'13' is no month"),
        ("0 2 * foo *", r"'foo' is no month"),
        ("0 2 * * 7", r"'7' is no day of week .* Sunday is 0"),
        ("0 2 L * *", r"'L' is no day of month"),
        ("0 2 * * 1#2", r"'1#2' is no day of week"),
        ("0 2 ? * *", r"'\?' is no day of month"),
        ("5-1 2 * * *", r"'5-1' is no minute"),
        ("*/0 2 * * *", r"'\*/0' is no minute"),
        ("0 2 31 2 *", "names a day that never comes"),
        ("0 2 30 2 *", "names a day that never comes"),
        ("0;reboot 2 * * *", r"'0;reboot' is no minute"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Schedule.parse(text)


def test_a_line_break_adds_no_line_to_a_crontab() -> None:
    assert str(Schedule.parse("0 2 * *\n*")) == "0 2 * * *"


def test_a_name_is_made_of_the_runs_folder(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(SEARCH)
    job = read_job(file)
    assert job.name == "autoprune-my-net-2"
    assert job.command[:2] == ("autoprune", "search")
    assert job.command[3:] == ("--if-exists", "resume", "--deadline", "6h", "--json")
    assert job.agent[:4] == ("autoprune", "agent", "join", "runs/My Net_2")
    assert ("--deadline", "6h") == job.agent[-2:]


def test_a_folder_for_runs_is_named_in_every_command(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(SEARCH)
    job = read_job(file, name="nightly", runs="/shared", search_runner="ray")
    assert job.command[-4:] == ("--runner", "ray", "--out", "/shared/nightly")
    assert job.agent[3] == job.probe[-1] == "/shared/nightly"


def test_a_deadline_and_a_file_are_checked_before_anything_is_rendered(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(SEARCH)
    with pytest.raises(ConfigError, match=r"--deadline must be above 0.*Got 'soon'"):
        read_job(file, deadline="soon")
    file.write_text(SEARCH + "trails: 3\n")
    with pytest.raises(ConfigError, match="unknown key 'trails'"):
        read_job(file)


def test_a_bare_number_of_seconds_reaches_the_command_with_its_unit(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(SEARCH)
    for text, told in {"21600": "21600s", " 90.5 ": "91s", ".5": "1s", " 2 h ": "2 h"}.items():
        job = read_job(file, deadline=text)
        words = (job.command, job.agent)
        assert [one[one.index("--deadline") + 1] for one in words] == [told, told]
        assert seconds_of(told, "--deadline") == job.seconds


def test_a_file_whose_name_begins_with_a_dash_is_no_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("--help.yaml").write_text(SEARCH)
    assert read_job(Path("--help.yaml")).command[2] == "./--help.yaml"
