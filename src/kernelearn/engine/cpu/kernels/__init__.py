"""Kernels that the CPU engine emits, one file per family."""
