"""What may be chosen: levels as rows of integers, what they cost, and those inside a budget."""
