"""Command line: one file per command group, each a thin client of public functions."""
