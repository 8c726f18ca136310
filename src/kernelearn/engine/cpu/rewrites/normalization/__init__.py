"""Rewrites of statistics: batch normalisation, layer normalisation, mean and variance."""
