"""``front.json``: the versioned summary of a front; its points have a ``result.json`` each."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from autoprune.artifacts.files import write_text
from autoprune.artifacts.result import Measured, SearchCost, schema_text

SCHEMA_FILE = Path(__file__).with_name("front.schema.json")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FrontPoint(_Record):
    """One model of the front; ``folder`` holds all of it and lies beside ``front.json``.

    ``share`` is its cost as a share of the dense model's; of a latency, measured in pairs.
    """

    folder: str
    limit: str
    share: float
    pruned: Measured


class LeftOut(_Record):
    """A limit at which there is no point, and why."""

    limit: str
    reason: str


class Front(_Record):
    """The content of ``front.json``, schema version 1: the points, the smallest first.

    None of them costs more than another one without being better on the search split. ``budget``
    holds for all of them, ``search`` is what all of them cost together.
    """

    schema_: Literal[1] = 1
    task: str
    metric: str
    cost: str
    budget: dict[str, str]
    dense: Measured
    points: list[FrontPoint]
    left_out: list[LeftOut]
    search: SearchCost
    versions: dict[str, str]

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: "schema" if name == "schema_" else name,
        populate_by_name=True,
        title="autoprune front",
        json_schema_serialization_defaults_required=True,
    )

    def to_json(self) -> str:
        """Return the text of ``front.json``."""
        return self.model_dump_json(indent=2, by_alias=True) + "\n"


if __name__ == "__main__":
    write_text(SCHEMA_FILE, schema_text(Front))
