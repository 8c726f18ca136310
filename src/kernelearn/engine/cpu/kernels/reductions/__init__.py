"""Sums, means, extremes and products over any axes, with the chains whose results they reduce."""
