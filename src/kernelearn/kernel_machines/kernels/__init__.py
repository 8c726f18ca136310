"""Kernel functions, kernels between pairs, and their Gram matrices: what a machine is given, as numbers."""
