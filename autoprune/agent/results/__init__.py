"""The result of a search: the winner is verified, written, and found again by a later session."""
