"""The one way in which errors suggest what the user may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

LISTED = 20
SHORTEST = 3  # letters that may stand for the name they begin


def did_you_mean(
    given: str, known: Iterable[str], also: Iterable[str] = (), *, most: int = 1
) -> str:
    """Return `` Did you mean 'x'?`` or `` Known: a, b.``, with a leading blank.

    Args:
        given: What was written.
        known: What could have been meant.
        also: What could be suggested as well, but is not listed.
        most: Suggestions at most.
    """
    names = sorted(known)
    able = sorted({*names, *also})
    close = get_close_matches(given, able, n=most, cutoff=0.6)
    if not close and len(given) >= SHORTEST:
        close = [name for name in able if name.lower().startswith(given.lower())][:most]
    if close:
        return f" Did you mean {' or '.join(map(repr, close))}?"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f" Known: {', '.join(names[:LISTED]) or 'none'}{more}."
