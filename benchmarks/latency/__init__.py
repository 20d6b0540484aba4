"""How well latency is priced, and whether budgets on it are met."""
