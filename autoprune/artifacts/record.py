"""What the JSON files of a result are made of."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A file or a part of one: it has the fields that it names, no others, and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Document(Record):
    """A whole file, with the version of its form."""

    schema_: Literal[1] = 1

    model_config = ConfigDict(
        alias_generator=lambda name: "schema" if name == "schema_" else name,
        populate_by_name=True,
        json_schema_serialization_defaults_required=True,
    )

    def to_json(self) -> str:
        """Return the text of the file."""
        return self.model_dump_json(indent=2, by_alias=True) + "\n"
