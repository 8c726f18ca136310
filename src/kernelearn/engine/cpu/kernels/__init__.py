"""Kernels, family by family: when one fits an operation, with which sizes, and the code that it emits."""
