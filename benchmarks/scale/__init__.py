"""How many workers one driver keeps busy, and what two of them are worth."""
