"""What is taken for a secret: starred out where people look, refused in files that are shared."""

import re

URL = re.compile(r"[a-zA-Z][\w+.-]*://\S+")
_PASSWORD = re.compile(r"^([\w+.-]+://[^:/]*):.*@", re.DOTALL)  # a user's name may hold @ too
_OPTION = re.compile(
    r"([?&][^=&]*(?:pass|secret|token|key|credential)[^=&]*=)[^&]*", re.IGNORECASE
)
_REFUSED = re.compile(
    r"[?&;](?:[^=&\s]*[_-])?(?:pass(?:word|wd)?|secret|token|api_?key|key|credentials?)=[^&\s]",
    re.IGNORECASE,
)
_IN_WORDS = re.compile(
    r"://[^/\s:]*:[^/\s@]+@"
    r"|://[^/\s:@\[]*:(?!\d+/)[^\s@]+@"  # digits and a slash are a port and a path
    r"|[?&;\s](?:password|token)=[^&\s]",
    re.IGNORECASE,
)
_NAME = re.compile(r"PASS(WORD|WD)|SECRET|TOKEN|CREDENTIAL|API_?KEY|DATABASE", re.IGNORECASE)


def redact(url: str) -> str:
    """Return a URL with its secrets starred out, fit for logs and errors."""
    return _OPTION.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))


def holds_secret(text: str) -> bool:
    """Tell whether a text holds a secret: in a URL, or among options of a database.

    Stars may be too many, a refusal may not: options are secrets here by their whole word.
    """
    urls = (found.group() for found in URL.finditer(text))
    return bool(_IN_WORDS.search(text)) or any(map(_REFUSED.search, urls))


def sounds_secret(name: str) -> bool:
    """Tell whether a variable of the environment is named as those that hold a secret."""
    return bool(_NAME.search(name))
