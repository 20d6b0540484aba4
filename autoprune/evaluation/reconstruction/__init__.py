"""Right after a cut, before any training: what is left is fitted to the dense model."""
