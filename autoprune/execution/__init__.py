"""Execution: what a search file says, and where a search runs."""
