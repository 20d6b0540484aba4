"""Where runs live: their folders, their databases, and who works on them now."""
