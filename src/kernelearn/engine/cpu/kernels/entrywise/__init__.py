"""Operators entry by entry: formulas, and chains of them over memory or at the end of other kernels."""
