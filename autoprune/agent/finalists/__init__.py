"""The last round: the best few by score are trained."""
