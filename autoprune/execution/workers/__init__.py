"""Processes that do the work of a search: on this machine, or on a Ray cluster."""
