"""The database of a run: runs, evaluations and the Optuna study behind one URL."""
