"""Optuna samplers that propose policies inside the budget, and nothing twice."""
