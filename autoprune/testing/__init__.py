"""Contract tests for people who add a method: what autoprune relies on, published."""
