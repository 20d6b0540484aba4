"""How many evaluations, and how much compute, samplers need for the same score."""
