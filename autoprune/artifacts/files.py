"""Files that are either whole or not there."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

from autoprune.errors import AutopruneError, OutputError

PLAN, WEIGHTS = "plan.json", "weights.safetensors"  # of a pruned model


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a place aside; what is written there becomes the file ``path`` if the block ends well.

    A crash leaves the old file or the new one, never half of one. Of several who write at the same
    time the last one's stays.

    Raises:
        OutputError: If an `OSError` says that it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{token_hex(4)}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException as err:  # Ctrl-C too leaves nothing half done
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(err, OSError):
            raise _unwritable(path, err) from err
        raise


@contextmanager
def aside(folder: Path, name: str) -> Iterator[Path]:
    """Yield a folder inside another one, from where no file can be moved halfway; it is removed.

    Args:
        folder: The other one.
        name: What its name begins with, after a dot.

    Raises:
        OutputError: If an `OSError` says that something cannot be written.
    """
    try:
        with TemporaryDirectory(prefix=f".{name}-", suffix=".partial", dir=folder) as found:
            yield Path(found)
    except AutopruneError:
        raise
    except OSError as err:
        raise _unwritable(folder, err) from err


def write_text(path: Path, text: str) -> None:
    """Write ``text`` into a file, which is `whole` at any time.

    Raises:
        OutputError: If it cannot be written.
    """
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _unwritable(path: Path, err: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written: {err.strerror or err}. Make room or mend the permissions, "
        "then give the same command again; one that searches also needs --if-exists resume."
    )
