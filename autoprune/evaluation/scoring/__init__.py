"""A policy scored: a candidate is pruned, trained and measured, stage by stage or further on."""
