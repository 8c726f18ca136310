"""Rewrites from Program to Program before code is made: what can be done in one pass over memory."""

from kernelearn.engine.program import Program


def optimise(program: Program) -> Program:
    """All rewrites in their order."""
    return program
