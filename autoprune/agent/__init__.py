"""The agent: asks for a policy, evaluates it, tells the result, until the budget is well spent."""
