"""What somebody is told whose search was stopped: what is kept of it, and how to go on."""

import shlex
import sys
from typing import TYPE_CHECKING

from autoprune.core.paths import resolved

if TYPE_CHECKING:
    from autoprune.execution.config import SearchFile


def how_to_resume(settings: "SearchFile", why: str) -> str:
    """Return what is kept, and the command to go on: the same one plus one option.

    Args:
        settings: The search.
        why: What stopped it, such as ``by SIGTERM``; empty for Ctrl-C.
    """
    from autoprune.reporting.secrets import without_secrets

    words: list[str] = []
    skip = False
    for word in sys.argv[1:]:
        if not skip and word != "--if-exists" and not word.startswith("--if-exists="):
            words.append(without_secrets(word))
        skip = word == "--if-exists"
    command = shlex.join(["autoprune", *words, "--if-exists", "resume"])
    if not set(words) <= set(sys.argv):
        command += "  (with the password in place of ***; or keep the URL in AUTOPRUNE_DATABASE)"
    stopped = f"stopped {why}".rstrip()
    kept = _kept(settings)
    done = f"{stopped}. {kept}." if kept else f"{stopped} before an evaluation was finished."
    return f"autoprune: {done} Go on with: {command}"


def _kept(settings: "SearchFile") -> str:
    """Return what is kept of a search that was stopped, and where; empty for nothing."""
    from autoprune.agent.run import kept_evaluations, kept_on_server
    from autoprune.storage.shared import server_of

    server = server_of(settings.shared_database)
    if server is None:
        count: int | None = kept_evaluations(settings.out)
        place = f"in {settings.out}"
    else:
        name = settings.name or resolved(settings.out).name
        count = kept_on_server(name, settings.shared_database)
        place = f"in {server} under the name {name!r}, trained weights in {settings.out}"
    if count is None:
        return f"What was finished is kept {place}; the database cannot be reached just now"
    if count == 0:
        return ""
    return f"{count} finished evaluation{'s are' if count > 1 else ' is'} kept {place}"
