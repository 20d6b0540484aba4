"""A server that is away is waited for, but not again and again."""

from typing import Any

import psycopg
import pytest

from autoprune.storage.engine import parse_url
from autoprune.storage.patience import Connect


def test_a_server_that_stayed_away_is_not_waited_for_again_until_it_was_met() -> None:
    away, tries = [False], []

    def connection(*_: Any, **__: Any) -> str:
        tries.append(away[0])
        if away[0]:
            raise psycopg.OperationalError("connection refused")
        return "connection"

    connect = Connect(parse_url("postgresql+psycopg://me@nowhere/db"), patience=0.15)
    connect._connect = connection
    assert connect() == "connection"
    away[0] = True
    with pytest.raises(psycopg.OperationalError):
        connect()
    assert sum(tries) > 1, "it was waited for"
    tries.clear()
    with pytest.raises(psycopg.OperationalError):
        connect()
    assert len(tries) == 1
    away[0] = False
    assert connect() == "connection"
    away[0] = True
    tries.clear()
    with pytest.raises(psycopg.OperationalError):
        connect()
    assert len(tries) > 1
