"""What a search needs before its first proposal: what is feasible, priced, and fits together."""
