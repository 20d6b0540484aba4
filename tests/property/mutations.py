"""What people and strangers may write where a value is expected, and files with such values."""

import copy
import datetime
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from hypothesis import strategies as st

_DEEP: Any = "x"
for _ in range(50):
    _DEEP = {"a": [_DEEP]}
TEXTS = [
    *("", " ", "\0", "a\0b", "\n", "x" * 5000, "\ud800", "\x1b[31m", "[bold]x[/]", "../../etc"),
    *("1e999", "1e999999999", "9" * 5000, "nan", "-inf", "1_000", "0x10", "\N{SUPERSCRIPT TWO}"),
    *("macs", "latency=..@", "a..b@c", "os:system", ":", "@", "2020-01-01", "!!", "~nobody/x"),
]
NUMBERS = [0, 1, -1, 0.5, 10**30, -(10**30), 10**400, 1e308, 1e-320, *map(float, ("inf", "nan"))]
ODD = [
    *(None, True, False, [], {}, [[]], [None], ["a", "a"], {"a": 1}, {1: 2}, {None: 1}, _DEEP),
    *(datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1), {"target": 1}, *TEXTS, *NUMBERS),
]
PIECES = [
    *(
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"&a ",
        b"*a ",
        b"<<: ",
        b'"',
        b"[",
        b"{",
        b"- ",
        b"\n",
    ),
    *(b": ", b"\t", b"| ", b"? ", b"---\n", b"NaN", b"[" * 2000, b'{"a":' * 2000, b"&x [*x]"),
    *(
        b"!!python/object/apply:os.abort []",
        b"!!timestamp 1",
        b"!!int x",
        b"!!float y",
        b"!!bool z",
    ),
    *(b"!!binary x", b"2001-13-45", b"1" * 5000, b"%YAML 9.9\n", b"!!omap [a: 1]", b"!!set {a}"),
]


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys that lead to each value inside a tree of lists and mappings."""
    pairs: Any = enumerate(tree) if isinstance(tree, list) else ()
    for key, value in tree.items() if isinstance(tree, dict) else pairs:
        yield (*at, key)
        yield from places(value, (*at, key))


@st.composite
def changed(draw: st.DrawFn, trees: Sequence[Any]) -> Any:
    """Draw a tree of which some values are odd, gone, or under another key."""
    tree = copy.deepcopy(draw(st.sampled_from(trees)))
    for _ in range(draw(st.integers(1, 3))):
        known = list(places(tree))
        if not known:
            break
        *above, key = draw(st.sampled_from(known))
        node = tree
        for one in above:
            node = node[one]
        if draw(st.booleans()):
            node[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif isinstance(node, dict) and draw(st.booleans()):
            node[draw(st.sampled_from(TEXTS))] = node.pop(key)
        else:
            del node[key]
    return tree


@st.composite
def mangled(draw: st.DrawFn, files: Sequence[bytes]) -> bytes:
    """Draw the bytes of a file into which others were put, or from which some were taken."""
    found = draw(st.sampled_from(files))
    for _ in range(draw(st.integers(1, 3))):
        at, size = draw(st.integers(0, len(found))), draw(st.integers(0, 20))
        put = draw(st.sampled_from(PIECES) | st.binary(max_size=3))
        found = found[:at] + put + found[at + size :]
    return found[: draw(st.integers(0, len(found)))] if draw(st.integers(0, 9)) == 0 else found


def yaml_files(files: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Draw the bytes of a YAML file that is much like one of ``files``, which are right."""

    def written(tree: Any) -> bytes:
        text: str = yaml.safe_dump(tree, allow_unicode=True)
        return text.encode("utf-8", "surrogatepass")

    return changed([yaml.safe_load(one) for one in files]).map(written) | mangled(files)


@st.composite
def texts(draw: st.DrawFn, right: Sequence[str]) -> str:
    """Draw a text that is much like one of ``right``."""
    found = draw(st.sampled_from(right))
    for _ in range(draw(st.integers(1, 3))):
        at, size = draw(st.integers(0, len(found))), draw(st.integers(0, 4))
        put = draw(st.sampled_from([*TEXTS, *right]) | st.text(max_size=2))
        found = found[:at] + put + found[at + size :]
    return found
