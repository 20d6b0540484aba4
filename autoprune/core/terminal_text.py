"""Text of others on its way to a terminal or a log: it says something, and does nothing."""

import unicodedata

_KEPT = "\n\t"
_HARMFUL = {"Cc", "Cf", "Cs", "Co"}  # controls, directions and other formats, halves, private
_MOST = 4000  # characters of a message


def harmless(text: str) -> str:
    """Return a text with what steers a terminal, or turns what is read around, spelled out."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in _KEPT or not _steers(c) else _spelled(c) for c in text)


def encodable(text: str) -> str:
    """Return a text with what UTF-8 cannot hold spelled out: bytes of a path that were no text."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shortened(text: str, most: int = _MOST) -> str:
    """Return a text whose middle is left out where it is longer than ``most`` characters."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters ... {text[-half:]}"


def _steers(char: str) -> bool:
    return unicodedata.category(char) in _HARMFUL


def _spelled(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
