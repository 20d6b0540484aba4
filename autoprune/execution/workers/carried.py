"""Functions that travel to other processes, with the users' own code that they need."""

import sys
from typing import Any

import cloudpickle

from autoprune.core.user_modules import PREFIX


def packed(work: Any) -> bytes:
    """Return work, a function for instance, as bytes; modules of users' files travel with it.

    Others are imported where it is unpacked, so they must be installed there.

    Raises:
        Exception: If it refers to something that cannot be pickled.
    """
    theirs = [module for name, module in sys.modules.items() if name.startswith(PREFIX)]
    for module in theirs:
        cloudpickle.register_pickle_by_value(module)
    try:
        found: bytes = cloudpickle.dumps(work)
    finally:
        for module in theirs:
            cloudpickle.unregister_pickle_by_value(module)
    return found


def unpacked(content: bytes) -> Any:
    """Return the function of which `packed` made these bytes; they must come from ourselves."""
    return cloudpickle.loads(content)
