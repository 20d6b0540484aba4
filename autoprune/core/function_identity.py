"""What tells two functions of a user apart, alike in every process."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from enum import Enum
from functools import partial
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_DEEPEST = 20  # values inside values
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
    arguments of a partial, attributes of an instance, defaults and what is closed over: numbers,
    text, containers, arrays, functions, classes, enums and dataclasses by what they are, other
    objects by their type, for what they hold may change from one process to the next.
    """
    bound = json.dumps(_told(_bound(function), ()), sort_keys=True)
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
        return b"" if code is None else json.dumps(_told(code, ())).encode()


def _bound(function: Any) -> list[Any]:
    """Return what is bound to a function, the outermost first."""
    found: list[Any] = []
    while isinstance(function, partial):
        found += [one for one in (function.args, function.keywords) if one]
        function = function.func
    owner = getattr(function, "__self__", None if hasattr(function, "__qualname__") else function)
    if owner is not None and not isinstance(owner, ModuleType):
        found.append(_attributes(owner))
    code = plain(function)
    cells = getattr(code, "__closure__", None) or ()
    defaults = (getattr(code, name, None) for name in ("__defaults__", "__kwdefaults__"))
    return [*found, [_content(cell) for cell in cells], *defaults]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is assigned later
        return None


def _told(value: Any, within: tuple[int, ...]) -> Any:
    """Return plain JSON types that stand for a value in every process."""
    if isinstance(value, _PLAIN) and not isinstance(value, Enum):
        return value
    if id(value) in within or len(within) > _DEEPEST:
        return "..."
    within = (*within, id(value))
    tell = next((tell for kinds, tell in _TELLERS if isinstance(value, kinds)), _other)
    return tell(value, within)


def _code_object(value: CodeType, within: tuple[int, ...]) -> Any:
    return [value.co_code.hex(), [*value.co_names], _told(value.co_consts, within)]


def _named(value: Any, within: tuple[int, ...]) -> Any:
    return [getattr(value, "__module__", ""), value.__qualname__, sum_of(_code(value))]


def _mapping(value: Mapping[Any, Any], within: tuple[int, ...]) -> Any:
    return {str(name): _told(one, within) for name, one in value.items()}


def _sequence(value: Any, within: tuple[int, ...]) -> Any:
    return [_told(one, within) for one in value]


def _unordered(value: Any, within: tuple[int, ...]) -> Any:
    return sorted((_told(one, within) for one in value), key=str)


def _array(value: Any, within: tuple[int, ...]) -> Any:
    array = np.ascontiguousarray(value.detach().cpu() if hasattr(value, "detach") else value)
    return [str(array.dtype), list(array.shape), sum_of(array.tobytes())]


def _other(value: Any, within: tuple[int, ...]) -> Any:
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _array(value, within)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return [kind, _told(_attributes(value), within)] if is_dataclass(value) else kind


def _attributes(value: Any) -> dict[str, Any]:
    slots = [name for one in type(value).__mro__ for name in getattr(one, "__slots__", ())]
    own = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return own | getattr(value, "__dict__", {})


_TELLERS: tuple[tuple[Any, Callable[[Any, tuple[int, ...]], Any]], ...] = (
    (Enum, lambda value, within: [type(value).__qualname__, value.name]),
    (CodeType, _code_object),
    ((type, FunctionType, BuiltinFunctionType, MethodType), _named),
    (partial, lambda value, within: _told([value.func, value.args, value.keywords], within)),
    (Mapping, _mapping),
    ((list, tuple), _sequence),
    ((set, frozenset), _unordered),
    ((bytes, PurePath), lambda value, within: str(value)),
)
