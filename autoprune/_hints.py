"""The one way in which errors suggest what the user may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

LISTED = 20
SHORT = 16  # so few names are listed beside a suggestion too
_CLOSE = 0.7  # of the letters; 'bayes' is no misspelt 'cmaes', at 0.6
SHORTEST = 3  # letters that may stand for the name they begin


def did_you_mean(
    given: str,
    known: Iterable[str],
    also: Iterable[str] = (),
    *,
    most: int = 1,
    listed: bool = False,
) -> str:
    """Return `` Did you mean 'x'?``, `` Known: a, b.`` or both, with a leading blank.

    Names are listed where nothing is close, and where they are few.

    Args:
        given: What was written.
        known: What could have been meant.
        also: What could be suggested as well, but is not listed.
        most: Suggestions at most.
        listed: Whether the message lists the names itself.
    """
    names = sorted(known)
    able = sorted({*names, *also})
    close = get_close_matches(given, able, n=most, cutoff=_CLOSE)
    if not close and len(given) >= SHORTEST:
        close = [name for name in able if name.lower().startswith(given.lower())][:most]
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    if listed or (close and len(names) > SHORT):
        return hint
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{hint} Known: {', '.join(names[:LISTED]) or 'none'}{more}."
