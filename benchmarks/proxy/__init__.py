"""Which cheap score tells what a policy is worth after full recovery."""
