"""Losses of the user's own in the program of a step: traced, reduced as Keras does, and checked."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kernelearn import tracing
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError, KernelearnError, ShapeError, TracingError
from kernelearn.metrics import Metric
from kernelearn.tracing import Traced
from kernelearn.tracing.where import line_of
from kernelearn.training.own.forms import put_together, taken_apart
from kernelearn.training.steps.signature import Signature
from kernelearn.training.steps.step import Given, input_name, target_name, weight_name

if TYPE_CHECKING:
    from kernelearn.losses import Loss
    from kernelearn.training.steps.objectives import Objective


def own_loss(graph: ProgramBuilder, loss: Loss, y_true: Buffer, y_pred: Buffer, weights: Buffer) -> Buffer:
    """The reduced loss of a batch.

    Raises: ShapeError, TracingError with the name of the loss, and the shapes that it was given.
    """
    target, prediction = Traced(graph, y_true), Traced(graph, y_pred)
    with _as_inference(graph), tracing.tracing(graph):
        value = named(
            f"Loss {loss.name!r}, given y_true {_shown(target)} and y_pred {_shown(prediction)}",
            lambda: loss.traced(target, prediction, Traced(graph, weights)),
        )
    return single_number(graph, value, f"Loss {loss.name!r}")


class _as_inference:
    """Layers that the user's code calls work for inference unless it says training=True, as in Keras."""

    def __init__(self, graph: ProgramBuilder) -> None:
        self.graph = graph

    def __enter__(self) -> None:
        self.before, self.graph.training = self.graph.training, False

    def __exit__(self, *error: Any) -> None:
        self.graph.training = self.before


def named(what: str, make: Any) -> Any:
    """What a piece of the user's code gives; an error of ours says in which code it happened.

    Raises: the same type of error.
    """
    try:
        return make()
    except tracing.BatchSizeNeeded:
        raise
    except KernelearnError as error:
        line = line_of(error.__traceback__)
        where = f" at {line}" if line and line not in str(error) else ""
        raise type(error)(f"{what}{where}: {error}") from error


def single_number(graph: ProgramBuilder, value: Any, what: str) -> Buffer:
    """The buffer of a traced number.

    Raises: ShapeError for anything else.
    """
    if not isinstance(value, Traced):
        raise ShapeError(
            f"{what} gave {value!r} of type {type(value).__name__}, which does not depend on its arguments. "
            "Compute it from y_true and y_pred with functions of kernelearn.ops."
        )
    if value.buffer.shape != ():
        raise ShapeError(
            f"{what} must give one number to train on; it gave a value of shape {value.shape}. Take ops.mean "
            "or ops.sum of it."
        )
    return value.buffer


def _shown(value: Traced) -> str:
    sizes = ", ".join("n" if size is None else str(size) for size in value.buffer.shape)
    return f"({sizes})"


# --- a loss of the model's own


def own_metrics(model: Any) -> list[Metric]:
    """The metrics that a model keeps as attributes, and updates in its own code."""
    return [value for value in vars(model).values() if isinstance(value, Metric)]


def own_total(
    graph: ProgramBuilder, model: Any, predictions: Sequence[Buffer], signature: Signature
) -> Buffer:
    """What the model's own `compute_loss` gives for a batch.

    Raises: what the code raises, with its name; ShapeError unless it gives one number.
    """
    inputs = [graph.buffers[input_name(i)] for i in range(len(model.inputs))]
    given = signature.given or _usual(graph, predictions)
    values = {name: Traced(graph, graph.input(name, shape, dtype)) for name, shape, dtype in given.specs}
    batch = {
        "x": _arranged(model, [Traced(graph, b) for b in inputs]),
        "y": _structure(given.y, values, target_name),
        "y_pred": model.arranged([Traced(graph, b) for b in predictions]),
        "sample_weight": _structure(given.weight, values, weight_name),
        "training": graph.training,
    }
    accepted = inspect.signature(model.compute_loss).parameters
    is_open = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    arguments = {name: value for name, value in batch.items() if is_open or name in accepted}
    what = f"{type(model).__name__}.compute_loss"
    with _as_inference(graph), tracing.tracing(graph):
        value = named(what, lambda: model.compute_loss(**arguments))
    return single_number(graph, value, what)


def _usual(graph: ProgramBuilder, predictions: Sequence[Buffer]) -> Given:
    """What is taken for a batch where none has been met: targets like the predictions, no weights."""
    specs = tuple((target_name(i), b.shape, graph.dtype) for i, b in enumerate(predictions))
    form = None if len(specs) == 1 else ("list", (), (None,) * len(specs))
    return Given(form, "none", specs)


def _structure(form: Any, values: dict[str, Traced], name: Any) -> Any:
    if form == "none":
        return None
    count = sum(key.startswith(name(0)[:-1]) for key in values)
    return put_together([values[name(i)] for i in range(count)], form)


def _arranged(model: Any, inputs: list[Traced]) -> Any:
    """The inputs in the form in which the model takes them."""
    if model.input_keys:
        return dict(zip(model.input_keys, inputs))
    return inputs[0] if len(inputs) == 1 else inputs


def compiled_loss(model: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
    """The losses of `compile` for traced values, weighted, plus `add_loss` and the penalties of regularisers.

    Raises: ArgumentError if there is nothing to train on.
    """
    graph = tracing.current()
    if graph is None:
        raise TracingError("compute_loss is code that is traced: fit, train_on_batch and evaluate call it.")
    objectives = model.programs.objectives
    targets, predictions = _per_output(y, objectives), _per_output(y_pred, objectives)
    weights = (
        _per_output(sample_weight, objectives)
        if isinstance(sample_weight, list | tuple | dict)
        else [sample_weight] * len(objectives)
    )
    total: Any = None
    for objective, target, prediction, weight in zip(objectives, targets, predictions, weights):
        if objective.loss is not None:
            part = objective.loss.traced(target, prediction, weight) * objective.weight
            total = part if total is None else total + part
    for penalty in model.losses:
        total = penalty if total is None else total + penalty
    if total is None:
        raise ArgumentError(
            f"Model {model.name!r} has neither a loss of compile nor penalties: give compile(loss=...), or "
            "let compute_loss give a loss of its own."
        )
    return total


def compiled_metrics(model: Any, y: Any, y_pred: Any, sample_weight: Any) -> dict[str, Any]:
    """The metrics of `compile`, updated with traced values."""
    objectives = model.programs.objectives
    targets, predictions = _per_output(y, objectives), _per_output(y_pred, objectives)
    for objective, target, prediction in zip(objectives, targets, predictions):
        for metric in objective.metrics:
            metric.update_state(target, prediction)
        for metric in objective.weighted:
            metric.update_state(target, prediction, sample_weight)
    return {name: metric.result() for name, metric in model.programs.results.metrics.items()}


def rows_of(x: Any) -> int:
    """The number of samples of a batch that a step of the model's own was traced for."""
    leaves, _ = taken_apart(x)
    return int(leaves[0].shape[0] or 1)


def _per_output(value: Any, objectives: Sequence[Objective]) -> list[Any]:
    if isinstance(value, dict):
        return [value.get(o.output) for o in objectives]
    return list(value) if isinstance(value, list | tuple) and len(objectives) > 1 else [value]
