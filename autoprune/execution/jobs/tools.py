"""The command line tools of schedulers."""

import shutil
import subprocess
from collections.abc import Sequence

from autoprune.errors import ConfigError, InfrastructureError

_TIMEOUT = 120  # seconds for a scheduler to answer


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
            words, input=given or "", capture_output=True, text=True, timeout=_TIMEOUT
        )
    except subprocess.TimeoutExpired as err:
        raise InfrastructureError(f"{tool!r} gave no answer within {_TIMEOUT} s.") from err
    if done.returncode != 0:
        told = " ".join((done.stderr or done.stdout).split())[:500]
        raise InfrastructureError(f"{tool!r} failed with exit code {done.returncode}: {told}")
    return done.stdout
