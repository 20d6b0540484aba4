"""Read YAML that a person wrote; what is wrong names the file and the line."""

from pathlib import Path
from typing import Any

import yaml

from autoprune.errors import ConfigError

_MOST_BYTES = 300_000  # of a file: what people write is far below
_MOST_NODES = 100_000  # once each alias is replaced by what it stands for
_UNUSABLE = "holds a character that no path or terminal takes, such as \\0"


class _Loader(yaml.SafeLoader):
    """Plain YAML that a person may mean: no key twice, no value that only grows or breaks.

    PyYAML keeps the last of two equal keys, lets aliases of aliases grow without end, and raises
    what its constructors happen to meet.
    """

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        _check_size(node)
        return self.construct_document(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as err:
            raise _refusal(f"{node.value!r} is no {node.tag.rpartition(':')[2]}", node) from err

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
            raise _refusal(f"the text {value!r} {_UNUSABLE}", node)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise _refusal(f"the key {key.value!r} is there twice; keep one", key)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping at the top of a YAML file.

    Raises:
        ConfigError: If the file cannot be read, is no YAML, repeats a key, or is no mapping.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_MOST_BYTES + 1)
        if len(start) > _MOST_BYTES:
            raise ConfigError(
                f"{path} is longer than {_MOST_BYTES:,} bytes, which no person wrote. Is it "
                "another file?"
            )
        text = start.decode("utf-8")
    except OSError as err:
        raise ConfigError(f"Cannot read {path}: {err.strerror}. Check the path.") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path} is not a text file in UTF-8, so it is no YAML.") from err
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise ConfigError(f"{path} must hold 'key: value' pairs with text keys. Got {kind}.")
    return content


def parse_yaml(text: str, what: str) -> Any:
    """Return what a YAML text holds; ``what`` names it in messages.

    Raises:
        ConfigError: If it is no YAML, repeats a key, or holds more than a person writes.
    """
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as err:
        raise ConfigError(f"{what}{_place(err)} is not valid YAML: {_problem(err)}.") from err
    except RecursionError as err:
        raise ConfigError(f"{what} is not valid YAML: it is nested too deeply.") from err


def _check_size(root: yaml.Node) -> None:
    """Refuse aliases that stand for themselves, or together for more than a person writes."""
    sizes: dict[int, int | None] = {}  # None while one is being counted

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = None
            sizes[id(node)] = 1 + sum(map(size, _parts(node)))
        found = sizes[id(node)]
        if found is None:
            raise _refusal("an alias stands for what it is part of", node)
        if found > _MOST_NODES:
            raise _refusal(f"its aliases stand for more than {_MOST_NODES:,} values", node)
        return found

    size(root)


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _refusal(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)


def _place(err: yaml.YAMLError) -> str:
    mark = getattr(err, "problem_mark", None)
    return f", line {mark.line + 1}," if mark is not None else ""


def _problem(err: yaml.YAMLError) -> str:
    parts = (getattr(err, "context", None), getattr(err, "problem", None))
    return ", ".join(part for part in parts if part) or " ".join(str(err).split())
