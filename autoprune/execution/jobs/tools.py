"""The command line tools of schedulers."""

import re
import shutil
import subprocess
from collections.abc import Sequence

from autoprune.errors import ConfigError, InfrastructureError

_TIMEOUT = 120  # seconds for a scheduler to answer
_LINES, _LONGEST = 5, 500  # lines and characters of what a tool says that failed
_LOGGED = re.compile(r"[EIW]\d{4} ")  # how lines begin that kubectl logs


def run_tool(words: Sequence[str], given: str | None = None) -> str:
    """Run a tool and return what it prints.

    Args:
        words: The tool and its arguments.
        given: Its standard input.

    Raises:
        ConfigError: If the tool is not installed.
        InfrastructureError: If it fails, or gives no answer.
    """
    tool = words[0]
    if shutil.which(tool) is None:
        raise ConfigError(
            f"{tool!r} is not installed here. Run this where it is (the login node of a Slurm "
            "cluster, a machine with kubectl), or write the files with autoprune jobs render "
            "and take them there."
        )
    try:
        done = subprocess.run(
            words,
            input=given or "",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired as err:
        raise InfrastructureError(f"{tool!r} gave no answer within {_TIMEOUT} s.") from err
    if done.returncode != 0:
        told = _last_words(done.stderr.strip() or done.stdout)
        raise InfrastructureError(f"{tool!r} failed with exit code {done.returncode}: {told}")
    return done.stdout


def _last_words(text: str) -> str:
    """Return what a tool says in the end, without what it logs on the way."""
    lines = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    plain = [line for line in lines if not _LOGGED.match(line)]
    return " ".join((plain or lines)[-_LINES:])[-_LONGEST:]
