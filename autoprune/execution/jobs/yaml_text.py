"""Plain data as YAML: strings are quoted where they must be, nothing refers to anything."""

from collections.abc import Sequence
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Writes what is there twice twice, in place of an anchor and an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def as_yaml(*documents: Any) -> str:
    """Return documents of plain data as one YAML stream."""
    return _dumped(documents, explicit_start=True)


def as_one(document: Any) -> str:
    """Return one document without a marker in front, so that others can embed it."""
    return _dumped((document,), explicit_start=False)


def _dumped(documents: Sequence[Any], *, explicit_start: bool) -> str:
    text: str = yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, explicit_start=explicit_start, width=1000
    )
    return text
