"""Sums over whole tensors, and what is scaled or held by them."""
