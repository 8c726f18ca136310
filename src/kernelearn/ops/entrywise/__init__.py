"""Functions entry by entry."""
