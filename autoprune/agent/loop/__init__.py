"""Trials asked for, scored and told, until the trials or the time are used up."""
