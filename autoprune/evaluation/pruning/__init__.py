"""From a policy to the pruned model: which atoms and weights matter least, and what is left."""
