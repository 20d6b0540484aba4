"""Tables of small real networks: every policy that a projected sampler can propose, scored."""
