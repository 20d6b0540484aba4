"""Runs a rival in the environment of its package, and brings back the model.

``python -m benchmarks.peers.apart RIVAL FOLDER`` reads what is given from ``FOLDER/given.json``
and writes ``FOLDER/pruned.pt`` and ``FOLDER/facts.json``. It ends when its standard input does.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import torch
from torch import nn

from benchmarks.isolated import first_line
from benchmarks.peers.protocol import Given, Pruned
from benchmarks.peers.venvs import python_of
from benchmarks.provenance import CHECKOUT

GIVEN, MODEL, FACTS = "given.json", "pruned.pt", "facts.json"


class RivalError(RuntimeError):
    """A rival did not bring a model; says what it said."""


def pruned_apart(tool: str, rival: str, given: Mapping[str, Any]) -> Pruned:
    """Have a rival prune in a process of its own environment.

    Args:
        tool: Whose environment, one of `PACKAGES`.
        rival: Its name.
        given: Arguments of `Given.of`.

    Raises:
        RivalError: If it raises, or dies.
    """
    python = python_of(tool)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / GIVEN).write_text(json.dumps(given), encoding="utf-8")
        command = [str(python), "-m", "benchmarks.peers.apart", rival, name]
        env = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=CHECKOUT, env=env) as child:
            code = child.wait()
        return _brought(folder, code)


def _brought(folder: Path, code: int) -> Pruned:
    if not (folder / FACTS).exists():
        raise RivalError(f"its process died with exit code {code}")
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    if "error" in facts:
        raise RivalError(facts["error"])
    # a file that our own process wrote a moment ago
    model: nn.Module = torch.load(folder / MODEL, weights_only=False)
    return Pruned(model=model, facts=facts)


def main(rival: str, folder: Path) -> None:
    """Prune, and write what came of it."""
    from benchmarks.peers.rivals import prune

    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        given = Given.of(**json.loads((folder / GIVEN).read_text(encoding="utf-8")))
        found = prune(rival, given)
        torch.save(found.model, folder / MODEL)
        facts = dict(found.facts)
    except Exception as err:  # what it raises is its result
        traceback.print_exc()
        facts = {"error": first_line(err)}
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
