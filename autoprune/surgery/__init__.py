"""Surgery: channel ids, units, plans, and smaller models made from them."""
