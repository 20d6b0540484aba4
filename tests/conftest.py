"""Settings that hold for every test."""

import os
import tempfile

# The models of the tests are tiny: more threads only wait for each other (109 s against 23 s).
# It is set before torch is imported, and children inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What is measured of this device is kept apart from the user's own.
_FOLDER = tempfile.TemporaryDirectory(prefix="autoprune-tests-")
os.environ["AUTOPRUNE_DATABASE"] = os.path.join(_FOLDER.name, "shared.db")
