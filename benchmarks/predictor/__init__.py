"""What the predictor of scores is worth: how well it ranks, how sure it is, what it saves."""
