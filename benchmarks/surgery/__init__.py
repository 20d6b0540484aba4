"""Which models can be pruned, how rightly, how fast, and in how much memory."""
