"""Training of a pruned model, by our steps or by the user's own function."""
