"""What proposes policies in a search: samplers, begun with all that is known before it."""
