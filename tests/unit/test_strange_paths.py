"""Every command that takes a path, given what is no such file: one paragraph, nothing changed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

SEARCH = "model: gone.py:build\ndata: gone.py:loaders\nbudget: {macs: 50%}\nout: run\n"
COMMANDS = [
    *("search {}", "search {} --json", "profile {}", "latency build {}", "latency check {}"),
    *("jobs render {} --runner slurm", "jobs render good.yaml --runner file:{}"),
    *("spaces show {}", "spaces show file:{}", "runners show file:{}", "runners check file:{}"),
    *("export {} --format onnx", "ledger {}", "report {}", "report {} --out r.html"),
    *("runs show {}", "runs rm {}", "dashboard {}", "db check --database {}"),
    *("db upgrade --database {}", "runs list --database {}", "latency list --database {}"),
    *("agent join {} --wait 1s", "search good.yaml --out {}", "search good.yaml --warm-start {}"),
]
# For these a path may be made, or nothing there be an answer.
MAY_SUCCEED = {"runs list --database {}", "latency list --database {}", "db upgrade --database {}"}


def make(folder: Path) -> dict[str, str]:
    """Return strange paths by what they are; those that are there were made in ``folder``."""
    (folder / "binary").write_bytes(bytes(range(256)) * 9)
    (folder / "utf16").write_bytes(SEARCH.encode("utf-16"))
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "one").symlink_to(folder / "other")
    (folder / "other").symlink_to(folder / "one")
    (folder / "dangling").symlink_to("/nowhere/at/all")
    return {
        **{name: name for name in ("binary", "utf16", "folder", "loop", "dangling")},
        "below a loop": "one/file",
        "below a file": "binary/file",
        "too long a name": "n" * 300,
        "too long a path": "/".join(["d" * 100] * 60),
        "bytes that are no text": os.fsdecode(b"\xff\xfe"),
        "what steers a terminal": "\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}",
        "markup": "[bold]x[/nope]",
        "no user's home": "~no-such-user-here/x",
        "no device": "/proc/self/mem",
        "a URL": "http://x/y",
    }


def content(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in sorted(folder.iterdir()) if one.is_file()}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_strange_path_is_told(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_autoprune: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(SEARCH)
    paths = make(tmp_path)
    before = content(tmp_path)
    for what, path in paths.items():
        code, _, err = run_autoprune(*(word.replace("{}", path) for word in command.split()))
        if code == 0 and command in MAY_SUCCEED:
            continue
        told = f"{what}: {err}"
        assert code == 2 or (code == 1 and command.startswith("db check")), told
        assert "Traceback" not in told
        assert "\x1b" not in told
        paragraphs = err[err.index("autoprune: ") :].splitlines() if code == 2 else []
        assert all(line.startswith("autoprune: ") for line in paragraphs), told
        assert {name: content(tmp_path)[name] for name in before} == before, told
