"""One evaluation: a policy scored or trained, how that may end, and what is kept of it."""
