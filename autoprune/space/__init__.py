"""Search spaces: what may be chosen, declared in ``search_spaces/*.yaml``."""
