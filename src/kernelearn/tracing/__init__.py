"""Python code that computes with symbols adds operations to a program.

A `Traced` stands for a buffer of the program under construction; functions of `kernelearn.ops` that are given
one add operations to that program instead of computing. This room holds the value, the current program, and
what is said where code asks a value for its numbers. Layers, losses and steps trace through it.
"""

from kernelearn.tracing.graph import (
    BatchSizeNeeded,
    active,
    add,
    constant,
    current,
    fixed,
    lifted,
    opened,
    program_of,
    suspended,
    tracing,
    using,
)
from kernelearn.tracing.later import Later, read_later, updated_later
from kernelearn.tracing.operators import FUNCTIONS, Operators, Symbolic, function, functions
from kernelearn.tracing.value import Traced, unwrapped, wrapped
from kernelearn.tracing.where import user_line

__all__ = [
    "FUNCTIONS",
    "BatchSizeNeeded",
    "Later",
    "Operators",
    "Symbolic",
    "Traced",
    "active",
    "add",
    "constant",
    "current",
    "fixed",
    "function",
    "functions",
    "lifted",
    "opened",
    "program_of",
    "read_later",
    "suspended",
    "tracing",
    "unwrapped",
    "updated_later",
    "user_line",
    "using",
    "wrapped",
]
