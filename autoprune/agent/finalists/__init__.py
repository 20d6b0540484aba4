"""The last round: the best few by score are measured and trained, until one is inside."""
