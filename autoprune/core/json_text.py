"""Reads JSON that anybody may have written: what is wrong with it is one kind of error."""

import json
from pathlib import Path
from typing import Any


def parse_json(text: str) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: If it is no JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as err:
        raise ValueError("it is nested too deeply") from err


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no JSON in UTF-8, or is nested too deeply.
    """
    return parse_json(path.read_text(encoding="utf-8"))
