"""autoprune and other tools, on the same models, data, budgets, fine-tuning and seeds."""
