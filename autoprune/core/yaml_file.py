"""Read a YAML file that a person wrote; what is wrong names the file and the line."""

from pathlib import Path
from typing import Any

import yaml

from autoprune.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Plain YAML that refuses a key given twice, where PyYAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key {key.value!r} is there twice; keep one",
                        problem_mark=key.start_mark,
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping at the top of a YAML file.

    Raises:
        ConfigError: If the file cannot be read, is no YAML, repeats a key, or is no mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader
    except OSError as err:
        raise ConfigError(f"Cannot read {path}: {err.strerror}. Check the path.") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path} is not a text file in UTF-8, so it is no YAML.") from err
    except yaml.YAMLError as err:
        raise ConfigError(f"{path}{_place(err)} is not valid YAML: {_problem(err)}.") from err
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise ConfigError(f"{path} must hold 'key: value' pairs with text keys. Got {kind}.")
    return content


def _place(err: yaml.YAMLError) -> str:
    mark = getattr(err, "problem_mark", None)
    return f", line {mark.line + 1}," if mark is not None else ""


def _problem(err: yaml.YAMLError) -> str:
    parts = (getattr(err, "context", None), getattr(err, "problem", None))
    return ", ".join(part for part in parts if part) or " ".join(str(err).split())
