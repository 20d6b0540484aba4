"""Numbers that people give."""

from typing import Any

import pytest

from autoprune.core.numbers import check_at_least, parse_duration, parse_share
from autoprune.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "share"),
    [("3%", 0.03), ("0.03", 0.03), (0.5, 0.5), (" 2.5 % ", 0.025), (".1", 0.1), (1e-7, 1e-7)],
)
def test_a_share_is_read(given: Any, share: float) -> None:
    assert parse_share(given, "error") == pytest.approx(share)


@pytest.mark.parametrize("given", ["3", "0", "0%", "100%", "-1%", "three", "", True, None, "3%%"])
def test_what_is_no_share_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^--error must be above 0 and below 1: .*'3%' or 0.03"):
        parse_share(given, "--error")


def test_a_duration_is_named_in_its_error() -> None:
    assert parse_duration("5m", "limit") == 300
    assert parse_duration(1e-6, "limit") == 1e-6
    for given in (float("inf"), float("nan"), -1):
        with pytest.raises(ConfigError, match="limit must be above 0"):
            parse_duration(given, "limit")
    with pytest.raises(ConfigError, match=r"^limit must be above 0: .*Got '0s'"):
        parse_duration("0s", "limit")


@pytest.mark.parametrize("given", ["9" * 30 + "s", "1e9d", "99999999999d", 1e10])
def test_a_duration_that_no_timer_takes_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^--deadline must be above 0.*'10m' or '2h'\. Got"):
        parse_duration(given, "--deadline")
    assert parse_duration("11000d", "--deadline") == 11000 * 86400


@pytest.mark.parametrize("given", [True, "2", 1.0, 0, None])
def test_whole_numbers_are_whole_and_large_enough(given: Any) -> None:
    check_at_least("policies", 1, 1, int)
    with pytest.raises(ConfigError, match="policies must be a whole number of at least 1"):
        check_at_least("policies", given, 1, int)
