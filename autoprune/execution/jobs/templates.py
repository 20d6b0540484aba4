"""Job files that are text: jinja2 templates of ``runners/templates``."""

import shlex
from typing import Any

from jinja2 import Environment, StrictUndefined

from autoprune._resources import resource


def render(name: str, **values: Any) -> str:
    """Return the template ``runners/templates/NAME`` filled in; a value that lacks is an error.

    Templates have the filters ``sh`` (one word for a shell), ``words`` (several) and ``path`` (a
    path in which a leading ``~/`` is the home folder).
    """
    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"sh": shlex.quote, "words": shlex.join, "path": quoted_path}
    text = resource("runners", f"templates/{name}").read_text(encoding="utf-8")
    return environment.from_string(text).render(**values)


def quoted_path(path: str) -> str:
    """Return a path as one word of a shell, ``~/`` being the home folder."""
    if path.startswith("~/"):
        return f'"$HOME"/{shlex.quote(path.removeprefix("~/"))}'
    return shlex.quote(path)
