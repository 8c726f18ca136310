"""A small vector language that writes LLVM IR: index arithmetic, loops, vectors of float32, registers.

    k = Kernel("twice", ("x", "y"), target)
    with k.loop(k.lo, k.hi, k.width) as i:
        x = k.load("x", i)
        k.store(x + x, "y", i)
    text = k.finish()

Every kernel has the signature `void name(ptr arguments, i64 lo, i64 hi)`: a table of addresses and numbers,
and the range of tasks to do. Numbers in registers are `values.Value`s, which know their type. Sizes and
strides known to Python are constants in the code, and are folded here.
"""

from __future__ import annotations

from kernelearn.engine.cpu.language.arithmetic import Arithmetic
from kernelearn.engine.cpu.language.code import Register
from kernelearn.engine.cpu.language.flow import Flow
from kernelearn.engine.cpu.language.indices import Index
from kernelearn.engine.cpu.language.memory import Memory

__all__ = ["Index", "Kernel", "Register"]


class Kernel(Flow, Memory, Arithmetic):
    """One function under construction.

    Args:
        name: of the function.
        arguments: names of the entries of the table of addresses, in order.
        target: what it is compiled for.
    """
