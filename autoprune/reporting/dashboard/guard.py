"""What stands before the dashboard, which asks nobody who they are: it lets through only looking.

A web page that somebody visits can send requests to this machine, and by DNS rebinding even read
the answers. So the host and the origin must be this server's own, and nothing changes anything.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

_PATHS = re.compile(
    r"/"
    r"|/dashboard(?:/.*)?"
    r"|/favicon\.ico"
    r"|/static/[^/]+"
    r"|/csv/\d+"
    r"|/api/meta"
    r"|/api/studies(?:/\d+(?:/param_importances|/plot/[a-z_]+)?)?"
    r"|/artifacts(?:/\d+){1,2}/[0-9a-f]+"
)
_DETAIL = re.compile(r"/api/studies/(\d+)")
_ARTIFACT = "/artifacts/"
# An artifact may be a page with scripts of its own: it is shut off from the dashboard's origin.
_SANDBOX = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:"
)
_ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
_DROPPED = {"access-control-allow-origin"}  # artifacts are given to every origin else


@dataclass
class Guard:
    """A WSGI application that lets pass to another one what only looks.

    Args:
        inside: The other one.
        hosts: What the header ``Host`` may be.
        best: Returns the best trials of a study in the form of the API, by its number; None where
            what the dashboard takes for them is right.
    """

    inside: Application
    hosts: frozenset[str]
    best: Callable[[int], list[dict[str, Any]] | None]

    def __call__(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        refusal = self._refusal(environ)
        if refusal is not None:
            return self._refuse(start, *refusal)
        path = environ.get("PATH_INFO", "").rstrip("/") or "/"
        answer = _Answer(path.startswith(_ARTIFACT))
        body = self.inside(environ, answer.start)
        detail = _DETAIL.fullmatch(path)
        if detail and answer.status.startswith("200"):
            best = self.best(int(detail[1]))
            if best is not None:
                body = [_corrected(b"".join(body), best)]
                answer.replace("Content-Length", str(len(body[0])))
        start(answer.status, answer.headers)
        return body

    def _refusal(self, environ: Environ) -> tuple[str, str] | None:
        """Return the status and the reason, None if the request is let through."""
        if environ.get("HTTP_HOST", "").lower() not in self.hosts:
            return "421 Misdirected Request", "The address is not that of this dashboard."
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and urlsplit(origin).netloc.lower() not in self.hosts:
            return "403 Forbidden", "Requests of other sites are refused."
        site, mode = (environ.get(f"HTTP_SEC_FETCH_{name}", "") for name in ("SITE", "MODE"))
        if site in ("cross-site", "same-site") and mode != "navigate":
            return "403 Forbidden", "Requests of other sites are refused."
        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return "405 Method Not Allowed", "Runs are only looked at: nothing can be changed."
        if not _PATHS.fullmatch(environ.get("PATH_INFO", "").rstrip("/") or "/"):
            return "404 Not Found", "There is nothing here."
        return None

    def _refuse(self, start: Callable[..., Any], status: str, reason: str) -> list[bytes]:
        body = json.dumps({"reason": reason}).encode()
        allow = [("Allow", "GET, HEAD")] if status.startswith("405") else []
        kind = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start(status, [*kind, *allow, *_ALWAYS])
        return [body]


def _corrected(body: bytes, best: list[dict[str, Any]]) -> bytes:
    """Return the description of a study with its true best trials.

    Of several objectives the dashboard itself takes those over the budget for best, too.
    """
    content = json.loads(body)
    content["best_trials"] = best
    return json.dumps(content).encode()


class _Answer:
    """What the application inside begins to answer."""

    def __init__(self, artifact: bool) -> None:
        self._artifact = artifact
        self.status = "500 Internal Server Error"
        self.headers: list[tuple[str, str]] = []

    def start(self, status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[..., Any]:
        kept = [pair for pair in headers if pair[0].lower() not in _DROPPED]
        self.status, self.headers = status, [*kept, *_ALWAYS]
        if self._artifact:
            self.headers.append(("Content-Security-Policy", _SANDBOX))
        return _unused

    def replace(self, name: str, value: str) -> None:
        others = [pair for pair in self.headers if pair[0].lower() != name.lower()]
        self.headers = [*others, (name, value)]


def _unused(_: bytes) -> None:
    raise NotImplementedError("Old WSGI applications alone write this way.")
