"""Latency in a search: what is measured for it, what is kept of that, and the last word."""
