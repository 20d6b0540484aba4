"""Artifacts: what a run leaves behind, how it is written, checked and read again."""
