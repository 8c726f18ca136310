"""Functions that choose, order and count entries."""
