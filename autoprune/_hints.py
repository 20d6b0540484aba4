"""The one way in which errors suggest what the user may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` or `` Known: a, b.``, with a leading blank."""
    names = sorted(known)
    close = get_close_matches(given, names, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(names) or 'none'}."
