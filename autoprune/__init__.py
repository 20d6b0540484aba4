"""autoprune: searches how to prune a trained PyTorch vision model to fit a budget."""

__version__ = "0.1.0"
