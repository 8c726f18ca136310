"""Functions that make arrays, and move numbers without changing them."""
