"""The operator table: what an operator is, and the registry of all of them.

An operator has a shape rule, a reference function (plain NumPy, from `engine.reference`) and a gradient rule,
which adds operations to the program under construction. Rules are local: the loop over a program is
`engine.gradients`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kernelearn.engine.attributes import REQUIRED
from kernelearn.errors import ArgumentError, unknown_name


class Spec(NamedTuple):
    """Shape (None = number of images) and dtype name of an array."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Operator:
    """One entry of the table.

    Attributes:
        name: how programs call it.
        shape_rule: (*input Specs, **attrs) -> tuple of output Specs; raises ShapeError with a full message.
        function: reference function (*input arrays, **attrs) -> array or tuple of arrays.
        gradient: (Context) -> tuple with one Buffer or None per input; None for an operator without gradient.
        attrs: the attributes that it always has, with their defaults; REQUIRED where there is none.
        kinds: for an operator that is many, the further attributes of each value of its attribute `kind`.
        is_linear: linear in its first input, so that the adjoint identity holds (used by tests).
        carrying: how many of its outputs, from the first, carry a gradient; the others are masks and indices,
            or nothing that is differentiated reads them.
    """

    name: str
    shape_rule: Callable[..., tuple[Spec, ...]]
    function: Callable[..., Any]
    gradient: Callable[["Context"], "Gradients"] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, Mapping[str, Any]] | None = None
    is_linear: bool = False
    carrying: int = 1

    def defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every attribute that an operation with these has, at its default (REQUIRED: it has none).

        Raises: UnknownNameError for a kind that is not in the table.
        """
        if self.kinds is None:
            return dict(self.attrs)
        kind = given.get("kind", self.attrs["kind"])
        if kind not in self.kinds:
            raise unknown_name(f"kind of the operator {self.name!r}", kind, self.kinds)
        return {**self.attrs, **self.kinds[kind]}

    def whole(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All attributes: those given, and the defaults of the others.

        Raises: UnknownNameError for one that the operator does not have, ArgumentError if one is missing.
        """
        known = self.defaults(given)
        for name in given:
            if name not in known:
                raise unknown_name(f"attribute of the operator {self.name!r}", name, known)
        attrs = {**known, **given}
        missing = [name for name, value in attrs.items() if value is REQUIRED]
        if missing:
            raise ArgumentError(
                f"The operator {self.name!r} needs the attributes {missing}; got {sorted(given)}."
            )
        return attrs

    def shape(self, *inputs: Spec, **attrs: Any) -> tuple[Spec, ...]:
        """Shapes and types of the outputs; attributes left out have their defaults."""
        return self.shape_rule(*inputs, **self.whole(attrs))

    def run(self, *inputs: Any, **attrs: Any) -> Any:
        """What the reference function gives; attributes left out have their defaults."""
        return self.function(*inputs, **self.whole(attrs))


@dataclass(frozen=True)
class Context:
    """What a gradient rule sees.

    Attributes:
        builder: where to add operations (a ProgramBuilder).
        inputs, outputs: buffers of the operation.
        attrs: its attributes.
        grad: dL/d(first output); None only where a further output alone carries one.
        needs: for every input, whether its gradient is wanted.
        grads: dL/d(output) of every output; None where none reached it.
    """

    builder: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    attrs: dict[str, Any]
    grad: Any
    needs: tuple[bool, ...]
    grads: tuple[Any, ...] = ()


# What a gradient rule gives: a Buffer, or None, for every input.
Gradients = tuple[Any, ...]


def no_gradient(c: Context) -> Gradients:
    """Gradient rule of what does not change between jumps: steps, conditions, whole numbers, places."""
    return (None,) * len(c.inputs)


OPERATORS: dict[str, Operator] = {}


def operator(
    name: str,
    shape: Callable[..., tuple[Spec, ...]],
    run: Callable[..., Any],
    gradient: Callable[[Context], Gradients] | None = None,
    attrs: Mapping[str, Any] | None = None,
    kinds: Mapping[str, Mapping[str, Any]] | None = None,
    is_linear: bool = False,
    carrying: int = 1,
) -> None:
    """Enter an operator into the table."""
    OPERATORS[name] = Operator(name, shape, run, gradient, attrs or {}, kinds, is_linear, carrying)


def required(*names: str) -> dict[str, Any]:
    """Attributes without a default."""
    return dict.fromkeys(names, REQUIRED)


def same_as_first(x: Spec, *others: Spec, **attrs: Any) -> tuple[Spec, ...]:
    """Shape rule: one output like the first input."""
    return (x,)


def like(index: int) -> Callable[..., tuple[Spec, ...]]:
    """Shape rule: one output like input number `index`."""
    return lambda *inputs, **attrs: (inputs[index],)
