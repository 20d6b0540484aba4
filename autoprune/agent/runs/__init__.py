"""Runs as others see them: their folders, their databases, and who works on them now."""
