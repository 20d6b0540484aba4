"""The one way in which errors suggest what the user may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

LISTED = 20


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
    close = get_close_matches(given, sorted({*names, *also}), n=most, cutoff=0.6)
    if close:
        return f" Did you mean {' or '.join(map(repr, close))}?"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f" Known: {', '.join(names[:LISTED]) or 'none'}{more}."
