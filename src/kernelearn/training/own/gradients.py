"""`minimize`, `value_and_grad` and `grad`: gradients of what the user's code computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernelearn import config, ops, tracing
from kernelearn.engine.gradients import gradients_of
from kernelearn.engine.program import Buffer
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError, ShapeError, TracingError
from kernelearn.optimizers import Optimizer
from kernelearn.tracing import Traced, user_line
from kernelearn.training.own.builder import StepBuilder, base_name
from kernelearn.training.own.compiled import COMPILED
from kernelearn.training.own.forms import put_together, taken_apart
from kernelearn.training.own.functions import OwnFunction
from kernelearn.training.steps.updating import add_updates

# What names weights: a layer or model, or weights of it.
Variables = Any


def minimize(loss: Any, optimizer: Any, variables: Variables = None) -> Any:
    """One update that makes a loss smaller: gradients, clipping, the optimiser, constraints.

    It is called in a function under `kernelearn.function`, or in the `train_step` of a model. Code behind it
    sees the new weights. If the loss is not finite, no weight is changed.

    Args:
        loss: one traced number. Penalties of regularisers belong to it only where the code adds them: they
            are in `model.losses`.
        optimizer: an object of `kernelearn.optimizers`; each group of weights has its own.
        variables: a model or layer, or a list of weights; None for all trained weights that the loss
            depends on.
    Returns: the loss.
    Raises: TracingError outside of a step; ShapeError for a loss that is no number; ArgumentError if the loss
        depends on none of the weights.
    """
    graph = _step_under_construction("kernelearn.minimize", loss)
    value = _number(loss, "The loss of kernelearn.minimize")
    _check_optimizer(optimizer)
    wanted = _wanted(graph, variables)
    graph.phase = "backward"
    try:
        found = gradients_of(graph, value.buffer, [name for name, _ in wanted], gradients=graph.gradients)
    finally:
        graph.phase = "forward"
    if not found:
        raise ArgumentError(f"{user_line()}: the loss depends on none of the weights that are to be trained.")
    _apply(graph, optimizer, _joined(graph, found), value.buffer)
    return loss


def apply_gradients(optimizer: Any, pairs: Any) -> None:
    """`optimizer.apply_gradients(zip(gradients, variables))` in a traced step, or at once on arrays."""
    pairs = [(g, v) for g, v in pairs if g is not None]
    graph = tracing.current()
    if not isinstance(graph, StepBuilder):
        if graph is not None or any(isinstance(g, Traced) for g, _ in pairs):
            raise TracingError(f"{user_line()}: gradients are applied in a step: see kernelearn.function.")
        _apply_now(optimizer, pairs)
        return
    grads: dict[str, Buffer] = {}
    for grad, variable in pairs:
        param = tracing.lifted(graph, variable).buffer
        buffer = tracing.fixed(tracing.lifted(graph, grad, graph.dtype)).buffer
        if buffer.shape != param.shape:
            raise ShapeError(
                f"{user_line()}: the gradient of {variable.path!r} must have its shape {param.shape}; "
                f"got {buffer.shape}."
            )
        grads[base_name(param.name)] = buffer
    _apply(graph, optimizer, grads, None)


def _apply_now(optimizer: Any, pairs: Sequence[tuple[Any, Any]]) -> None:
    variables = [v for _, v in pairs]
    step = optimizer.applied
    key = tuple(map(id, variables))
    if key not in step:

        def update(*grads: Any) -> None:
            apply_gradients(optimizer, zip(grads, variables))

        step.clear()
        step[key] = OwnFunction(update)
    step[key](*[g for g, _ in pairs])


Optimizer.applied_by = apply_gradients


class GradientOf:
    """`value_and_grad` or `grad` of a function: called with traced values it adds to the step under
    construction, called with arrays it is compiled and computes.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        argnums: int | Sequence[int] | None,
        variables: Variables,
        has_aux: bool,
        with_value: bool,
    ) -> None:
        self.function = function
        self.argnums = argnums
        self.variables = variables
        self.has_aux = has_aux
        self.with_value = with_value
        self._compiled: Any = None

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if tracing.active():
            return self.traced(*args, **keywords)
        if self._compiled is None:
            weights = () if self.variables is None else _listed(self.variables)
            self._compiled = COMPILED.of(self, weights)
        asked = [n for n in self._numbers() if n < len(args)]
        arrays = [_numbers_as_array(arg) if i in asked else arg for i, arg in enumerate(args)]
        return self._compiled(*arrays, **keywords)

    def traced(self, *args: Any, **keywords: Any) -> Any:
        """Add the function and its gradient to the program under construction."""
        graph = tracing.current()
        assert graph is not None
        args, asked = self._own_arguments(args)
        result = self.function(*args, **keywords)
        value, aux = result if self.has_aux else (result, None)
        number = _number(value, "The function of which the gradient is wanted")
        weights = [] if self.variables is None else _listed(self.variables)
        names = [graph_name for w in weights for graph_name in _names(graph, w)]
        leaves = [leaf for structure in asked for leaf in taken_apart(structure)[0]]
        found = gradients_of(graph, number.buffer, [*names, *(leaf.buffer.name for leaf in leaves)])
        by_args = [_structured(graph, structure, found) for structure in asked]
        by_weights = [_of_weight(graph, w, found) for w in weights]
        grads = self._arranged(by_args, by_weights)
        if not self.with_value:
            return (grads, aux) if self.has_aux else grads
        return ((value, aux) if self.has_aux else value), grads

    def _own_arguments(self, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[Any]]:
        """The arguments, those asked for as values of their own: other ways from them do not count."""
        asked = self._numbers()
        if asked and max(asked) >= len(args):
            raise ArgumentError(
                f"argnums={self.argnums} names an argument that is not given by position: got {len(args)}."
            )
        renewed = list(args)
        for number in asked:
            leaves, form = taken_apart(args[number])
            renewed[number] = put_together([_own(leaf) for leaf in leaves], form)
        return tuple(renewed), [renewed[number] for number in asked]

    def _numbers(self) -> list[int]:
        if self.argnums is None:
            return [] if self.variables is not None else [0]
        return [self.argnums] if isinstance(self.argnums, int) else list(self.argnums)

    def _arranged(self, by_args: list[Any], by_weights: list[Any]) -> Any:
        given = (
            by_args[0] if len(by_args) == 1 and not isinstance(self.argnums, list | tuple) else tuple(by_args)
        )
        if self.variables is None:
            return given
        own = by_weights[0] if isinstance(self.variables, Variable) else by_weights
        return (given, own) if by_args else own


def value_and_grad(
    function: Callable[..., Any],
    argnums: int | Sequence[int] | None = None,
    variables: Variables = None,
    has_aux: bool = False,
) -> GradientOf:
    """A function that gives the value of another one, a single number, and its gradient.

    Args:
        function: computes one number with functions of `kernelearn.ops`, layers and models.
        argnums: the positions of the arguments by which the gradient is wanted: a number, or several for a
            tuple of gradients. Default: the first argument, or none where `variables` are given.
        variables: a model or layer, or a list of weights, by which it is wanted: their gradients are a list.
            With `argnums` too: (gradients by arguments, gradients by weights).
        has_aux: the function gives (number, anything else), and the result is ((number, else), gradient).

    Called on arrays it is compiled for their shapes and computes; called in a step it is part of the step,
    and a gradient is a value like any other: it can be squared, and minimised.

    >>> from kernelearn import ops
    >>> value, gradient = value_and_grad(lambda x: ops.sum(x * x))([1.0, 2.0])
    >>> value, gradient.tolist()
    (5.0, [2.0, 4.0])
    """
    return GradientOf(function, argnums, variables, has_aux, True)


def grad(
    function: Callable[..., Any],
    argnums: int | Sequence[int] | None = None,
    variables: Variables = None,
    has_aux: bool = False,
) -> GradientOf:
    """The gradient of a function alone; see `value_and_grad`."""
    return GradientOf(function, argnums, variables, has_aux, False)


# --- parts


def _step_under_construction(what: str, loss: Any) -> StepBuilder:
    graph = tracing.current()
    if not isinstance(graph, StepBuilder):
        raise TracingError(
            f"{user_line()}: {what} belongs into a function under @kernelearn.function, or into the "
            "train_step of a model; here there is no step to add to."
        )
    if not isinstance(loss, Traced):
        raise TracingError(
            f"{user_line()}: the loss is {loss!r} of type {type(loss).__name__}, which does not depend on "
            "what is traced. Compute it with functions of kernelearn.ops in the same function."
        )
    return graph


def _number(value: Any, what: str) -> Traced:
    graph = tracing.current()
    assert graph is not None
    traced = value if isinstance(value, Traced) else tracing.lifted(graph, value, graph.dtype)
    if traced.buffer.shape != ():
        raise ShapeError(
            f"{user_line()}: {what} must be one number; got a value of shape {traced.shape}. Take "
            "ops.mean or ops.sum of it."
        )
    return traced


def _check_optimizer(optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(
            "minimize takes an optimizer as an object, such as kernelearn.optimizers.Adam(1e-3); got "
            f"{optimizer!r}. A name would begin anew with every trace."
        )


def _listed(variables: Variables) -> list[Variable]:
    """Weights from a layer, a weight, or a list of either."""
    if isinstance(variables, Variable):
        return [variables]
    if isinstance(variables, list | tuple):
        return [weight for part in variables for weight in _listed(part)]
    found = getattr(variables, "trainable_weights", None)
    if found is None:
        raise ArgumentError(f"variables must be a model, a layer or a list of weights; got {variables!r}.")
    return list(found)


def _names(graph: Any, weight: Variable) -> list[str]:
    """The buffers by which a weight has been read."""
    return [name for name, known in graph.variables.items() if known is weight]


def _wanted(graph: StepBuilder, variables: Variables) -> list[tuple[str, Variable]]:
    if variables is None:
        return [(name, graph.variables[name]) for name in sorted(graph.trainable)]
    return [(name, weight) for weight in _listed(variables) for name in _names(graph, weight)]


def _joined(graph: StepBuilder, found: dict[str, Buffer]) -> dict[str, Buffer]:
    """The gradients by weight: one that was read before and behind an update has the sum of both."""
    joined: dict[str, Buffer] = {}
    for name, gradient in found.items():
        base = base_name(name)
        known = joined.get(base)
        joined[base] = gradient if known is None else graph.add("add", known, gradient)
    return joined


def _apply(graph: StepBuilder, optimizer: Any, grads: dict[str, Buffer], loss: Buffer | None) -> None:
    graph.applied.update(gradient.name for gradient in grads.values())
    clock = graph.begin_use(optimizer, loss)
    weights = [graph.variables[name] for name in grads]
    multipliers = {id(weight): _multiplier(weight) for weight in weights}
    add_updates(graph, grads, optimizer, clock, multipliers)
    graph.end_use()


def _multiplier(weight: Variable) -> float:
    """The factor of the learning rate that the layer of a weight asks for."""
    return float(getattr(getattr(weight, "owner", None), "learning_rate_multiplier", 1.0))


def _own(leaf: Any) -> Traced:
    """A value that nothing else in the program is computed from."""
    graph = tracing.current()
    assert graph is not None
    traced = leaf if isinstance(leaf, Traced) else tracing.lifted(graph, leaf, None)
    if not traced.dtype.startswith("float"):
        raise ArgumentError(
            f"{user_line()}: a gradient is taken by real numbers; got values of {traced.dtype}."
        )
    return Traced(graph, graph.add("reshape", traced.buffer, shape=traced.buffer.shape))


def _numbers_as_array(argument: Any) -> Any:
    """Python numbers, alone or in lists, as an array; anything else as it is."""
    leaves, _ = taken_apart(argument)
    is_plain = all(isinstance(leaf, int | float) and not isinstance(leaf, bool) for leaf in leaves)
    return np.asarray(argument, config.floatx()) if leaves and is_plain else argument


def _structured(graph: Any, structure: Any, found: dict[str, Buffer]) -> Any:
    leaves, form = taken_apart(structure)
    return put_together([_found(graph, leaf, found.get(leaf.buffer.name)) for leaf in leaves], form)


def _of_weight(graph: Any, weight: Variable, found: dict[str, Buffer]) -> Any:
    parts = [found[name] for name in _names(graph, weight) if name in found]
    total = parts[0] if parts else None
    for part in parts[1:]:
        total = graph.add("add", total, part)
    if total is not None and isinstance(graph, StepBuilder):
        graph.weight_gradients.add(total.name)
    return _found(graph, tracing.lifted(graph, weight), total)


def _found(graph: Any, of: Traced, gradient: Buffer | None) -> Any:
    """A gradient as a traced value; zeros where nothing depends."""
    return Traced(graph, gradient) if gradient is not None else ops.zeros_like(of)
