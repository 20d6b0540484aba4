"""Costs of a policy, exact from shapes, without building the model."""
