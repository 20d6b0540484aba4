"""Where runs live: their folders, their databases, what those say, and who works on them now."""
