"""Latency, measured: runtimes that run a model, a clock that is fair, a device that is known."""
