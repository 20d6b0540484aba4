"""Prune a little, train, judge, go on or back: the way of a finalist to the budget."""
