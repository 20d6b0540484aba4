"""What tells two functions of a user apart, alike in every process."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_PLAIN = (str, int, float, bool, type(None))


def plain(function: Any) -> Any:
    """Return the function or class that holds the code of something callable."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(getattr(function, "__func__", function))
    return function if hasattr(function, "__qualname__") else type(function)


def source_of(function: Any) -> str:
    """Return the SHA-256 of the code of something callable and of what is bound to it.

    The code is the file it comes from, its own text or its bytecode, whatever there is. Bound are
    arguments of a partial, attributes of an instance, defaults and what is closed over; objects
    in them count by their type, for their text may hold an address.
    """
    bound = json.dumps(_told(_bound(function)), sort_keys=True)
    return sum_of(_code(plain(function)) + bound.encode())


def sum_of(content: bytes) -> str:
    """Return the SHA-256 of bytes as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def _code(function: Any) -> bytes:
    try:
        file = inspect.getsourcefile(function)
        if file is not None and Path(file).is_file():
            return Path(file).read_bytes()
        return inspect.getsource(function).encode()
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        return b"" if code is None else json.dumps(_told(code)).encode()


def _bound(function: Any) -> list[Any]:
    """Return what is bound to a function, the outermost first."""
    found: list[Any] = []
    while isinstance(function, partial):
        found += [one for one in (function.args, function.keywords) if one]
        function = function.func
    owner = getattr(function, "__self__", None if hasattr(function, "__qualname__") else function)
    if owner is not None and not isinstance(owner, ModuleType):
        found.append(getattr(owner, "__dict__", {}))
    code = plain(function)
    cells = getattr(code, "__closure__", None) or ()
    defaults = (getattr(code, name, None) for name in ("__defaults__", "__kwdefaults__"))
    return [*found, [_content(cell) for cell in cells], *defaults]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is assigned later
        return None


def _told(value: Any) -> Any:
    """Return plain JSON types that stand for a value in every process."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, CodeType):
        return [value.co_code.hex(), [*value.co_names], _told(value.co_consts)]
    if isinstance(value, Mapping):
        return {str(name): _told(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_told(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((_told(one) for one in value), key=str)
    if isinstance(value, Path):
        return str(value)
    return f"{type(value).__module__}.{type(value).__qualname__}"
