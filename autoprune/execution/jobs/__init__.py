"""Jobs: the same search, started by a scheduler with nobody watching."""
