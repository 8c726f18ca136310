"""Formulas over buffers: what gradient rules are written in.

    x, y, g = terms(c.builder, c.inputs[0], c.outputs[0], c.grad)
    gradient = -g * x.apply("sin")

Each step adds an operation. So a gradient consists of operators that have gradients, and can be
differentiated again.
"""

from __future__ import annotations

from typing import Any

from kernelearn.engine.arrays import Shape


class Term:
    """A buffer of a program under construction, with arithmetic. Python numbers are constants beside it."""

    def __init__(self, builder: Any, buffer: Any) -> None:
        self.builder, self.buffer = builder, buffer

    @property
    def shape(self) -> Shape:
        return tuple(self.buffer.shape)

    def apply(self, operator: str, *others: Term | float, **attrs: Any) -> Term:
        """An operator of this term first, then of others."""
        buffers = [self._term(other).buffer for other in others]
        return Term(self.builder, self.builder.add(operator, self.buffer, *buffers, **attrs))

    def constant(self, value: float) -> Term:
        """A number of this term's type."""
        made = self.builder.add("fill", shape=(), value=float(value), dtype=self.buffer.dtype)
        return Term(self.builder, made)

    def _term(self, other: Term | float) -> Term:
        return other if isinstance(other, Term) else self.constant(other)

    def __add__(self, other: Term | float) -> Term:
        if isinstance(other, Term):
            return self.apply("add", other)
        return self.apply("scale", offset=float(other))

    __radd__ = __add__

    def __mul__(self, other: Term | float) -> Term:
        if isinstance(other, Term):
            return self.apply("multiply", other)
        return self.apply("scale", factor=float(other))

    __rmul__ = __mul__

    def __neg__(self) -> Term:
        return self * -1.0

    def __sub__(self, other: Term | float) -> Term:
        return self.apply("subtract", other) if isinstance(other, Term) else self + -other

    def __rsub__(self, other: float) -> Term:
        return self.apply("scale", factor=-1.0, offset=float(other))

    def __truediv__(self, other: Term | float) -> Term:
        return self.apply("divide", other)

    def __rtruediv__(self, other: float) -> Term:
        return self.apply("reciprocal") * other

    def to(self, target: Any) -> Any:
        """The buffer, summed over the axes along which `target` was repeated to this term's shape."""
        return unbroadcast(self.builder, self.buffer, target)


def terms(builder: Any, *buffers: Any) -> tuple[Term, ...]:
    """Buffers as terms."""
    return tuple(Term(builder, buffer) for buffer in buffers)


def unbroadcast(builder: Any, grad: Any, target: Any) -> Any:
    """Sum `grad` over the axes along which `target` was repeated to its shape."""
    if grad.shape == target.shape:
        return grad
    lead = len(grad.shape) - len(target.shape)
    padded = (1,) * lead + tuple(target.shape)
    axes = tuple(i for i, (g, t) in enumerate(zip(grad.shape, padded)) if i < lead or (t == 1 and g != 1))
    return builder.add("sum_to", grad, axes=axes, shape=tuple(target.shape))
