"""The sensitivity table in a search: looked up or probed by workers, and kept with the run."""
