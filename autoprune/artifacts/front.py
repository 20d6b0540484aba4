"""``front.json``: the versioned summary of a front; its points have a ``result.json`` each."""

from pathlib import Path

from pydantic import Field

from autoprune.artifacts.files import write_text
from autoprune.artifacts.record import Document, Record
from autoprune.artifacts.result import Measured, SearchCost, schema_text
from autoprune.core.yardstick import Yardstick

SCHEMA_FILE = Path(__file__).with_name("front.schema.json")


class FrontPoint(Record):
    """One model of the front; ``folder`` holds all of it and lies beside ``front.json``.

    It is a plain name: who reads what a stranger wrote is led nowhere else.

    ``share`` is its cost as a share of the dense model's; of a latency, measured in pairs.
    """

    folder: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    limit: str
    share: float
    pruned: Measured


class LeftOut(Record):
    """A limit at which there is no point, and why.

    It was ``missed`` where no model was found inside it: whoever resumes tries again.
    """

    limit: str
    reason: str
    missed: bool = False


class Front(Document, title="autoprune front"):
    """The content of ``front.json``, schema version 1: the points, the smallest first.

    None of them costs more than another one without being better on the search split. ``budget``
    holds for all of them, ``search`` is what all of them cost together. Where the metric is not
    ``higher_is_better``, qualities are minus the metric; ``is_share`` is as in ``result.json``.
    """

    task: str
    metric: str
    cost: str
    budget: dict[str, str]
    dense: Measured
    points: list[FrontPoint]
    left_out: list[LeftOut]
    search: SearchCost
    versions: dict[str, str]
    higher_is_better: bool = Field(default=True)
    is_share: bool = Field(default=True)

    @property
    def yardstick(self) -> Yardstick:
        """How its figures are to be read."""
        return Yardstick.of({**vars(self), "dense_macs": self.dense.macs})


if __name__ == "__main__":
    write_text(SCHEMA_FILE, schema_text(Front))
