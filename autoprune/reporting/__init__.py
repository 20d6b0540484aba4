"""Reporting: results and progress, for people to look at."""
