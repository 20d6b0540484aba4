"""Searches for more than one limit: along a front, or the smallest model within a drop."""
