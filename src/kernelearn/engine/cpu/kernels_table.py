"""Importing this module fills the table of lowering rules."""

from kernelearn.engine.cpu.kernels import chain, conv

__all__ = ["chain", "conv"]
