"""Importing this module fills the table of lowering rules."""

from kernelearn.engine.cpu.kernels import chain

__all__ = ["chain"]
