"""What is wrong with a file that somebody wrote, by the names that it uses."""

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from autoprune._hints import did_you_mean


def explain(err: ValidationError, schema: type[BaseModel]) -> str:
    """Return the problems of a pydantic error as one paragraph."""
    return " ".join(_problem(one, schema) for one in err.errors(include_url=False))


def _problem(one: Any, schema: type[BaseModel]) -> str:
    place = ".".join(str(part) for part in one["loc"])
    cause = one.get("ctx", {}).get("error")
    if one["type"] == "extra_forbidden":
        known = _fields(_model_at(schema, one["loc"][:-1]))
        return f"unknown key {place!r}.{did_you_mean(str(one['loc'][-1]), known)}"
    if one["type"] == "missing":
        return f"the key {place!r} is missing."
    if cause is not None:
        return f"{place}: {cause}" if len(one["loc"]) > 1 else str(cause)
    return f"the key {place!r} is wrong: {one['msg'].lower()}. Got {one['input']!r}."


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """Return the annotations of a model's fields by the names that a file uses."""
    found = model.model_fields.items()
    return {field.alias or name: field.annotation for name, field in found}


def _model_at(model: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel]:
    """Return the model that keys at a place belong to; numbers of lists lead no deeper."""
    for part in path:
        model = _model_in(_fields(model).get(str(part))) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
