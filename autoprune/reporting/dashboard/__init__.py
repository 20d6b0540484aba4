"""Runs as optuna-dashboard shows them: views of their studies; databases stay as they are."""
