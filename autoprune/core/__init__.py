"""Words shared by all rooms: budgets, policies, costs, progress. No torch, no optuna."""
