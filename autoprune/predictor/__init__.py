"""Predict the score of a policy from those that were scored, with how sure that is."""
