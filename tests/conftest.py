"""Settings that hold for every test."""

import os

# The models of the tests are tiny: more threads only wait for each other (109 s against 23 s).
# It is set before torch is imported, and children inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
