"""Decisions of the best policy examined: whether one was harmful, and what is learnt of that."""
