"""Builds the programs of a model: a training step, a test step, a prediction.

A training step is the layers, the loss with its penalties, the backward pass, and the update of every
trainable weight: see `updating`. `_finished` applies the precision policy to all three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import Buffer, Program, ProgramBuilder
from kernelearn.engine.rewrites import PRODUCTS_OF, fuse_softmax_crossentropy, with_products_in
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError, NotBuiltError, ShapeError
from kernelearn.layers.core.masks import masked_weights
from kernelearn.regularizers import penalty
from kernelearn.training.own.afterwards import Afterwards, labelled
from kernelearn.training.own.fitting import overrides
from kernelearn.training.steps.objectives import Objective
from kernelearn.training.steps.own_losses import own_loss, own_total
from kernelearn.training.steps.signature import ANY, Signature
from kernelearn.training.steps.step import (
    LEARNING_RATE,
    LOSS,
    UPDATE,
    input_name,
    loss_name,
    prediction_name,
    target_name,
    weight_name,
)
from kernelearn.training.steps.updating import add_updates
from kernelearn.training.trainable import Trainable

if TYPE_CHECKING:
    from kernelearn.optimizers import Optimizer


def build_prediction(model: Trainable, signature: Signature = ANY) -> Built:
    """The layers in inference mode; outputs are labelled as `step.prediction_name` says.

    Args:
        signature: the sizes that the program is for, where the model takes any.
    """
    graph = ProgramBuilder(dtype=model.dtype, batch=signature.rows)
    _lower(graph, model, signature)
    return _built(graph, model)


def build_test(
    model: Trainable,
    objectives: Sequence[Objective],
    positions: Sequence[int] = (),
    signature: Signature = ANY,
) -> Built:
    """Prediction and losses, in inference mode.

    Args:
        objectives: with the shapes of this signature.
        positions: outputs with a weight for each position, not for each sample.
        signature: see `build_prediction`.
    """
    graph = ProgramBuilder(dtype=model.dtype, batch=signature.rows)
    _add_loss(graph, model, objectives, _lower(graph, model, signature), positions, signature)
    graph.rewrite(fuse_softmax_crossentropy)
    return _built(graph, model)


def build_training(
    model: Trainable,
    objectives: Sequence[Objective],
    optimizer: Optimizer,
    positions: Sequence[int] = (),
    signature: Signature = ANY,
) -> Built:
    """A whole training step.

    Args:
        objectives: with the shapes of this signature.
        positions: outputs with a weight for each position, not for each sample.
        signature: see `build_prediction`.
    """
    graph = ProgramBuilder(training=True, dtype=model.dtype, batch=signature.rows)
    total = _add_loss(graph, model, objectives, _lower(graph, model, signature), positions, signature)
    graph.rewrite(fuse_softmax_crossentropy)
    grads = add_gradients(graph, total)
    clock = graph.input(LEARNING_RATE, (), "float64"), graph.input(UPDATE, (), "int64")
    add_updates(graph, grads, optimizer, clock, learning_rate_multipliers(model))
    return _built(graph, model)


@dataclass(frozen=True)
class Built:
    """A program with what it needs.

    Attributes:
        program: what a step computes.
        variables: name of a parameter or state -> Variable.
        afterwards: what is done with its outputs behind a run.
    """

    program: Program
    variables: Mapping[str, Variable]
    afterwards: Sequence[Afterwards] = ()


def _built(graph: ProgramBuilder, model: Trainable) -> Built:
    actions = labelled(graph)
    return Built(_finished(graph, model), graph.variables, actions)


def _finished(graph: ProgramBuilder, model: Trainable) -> Program:
    """The program, with products in the precision of the model's policy.

    Raises: ArgumentError for a mixed policy on a model of another float type than float32.
    """
    precision = PRODUCTS_OF[model.policy]
    if precision != "float32" and graph.dtype != "float32":
        raise ArgumentError(
            f"Policy {model.policy!r} keeps weights and sums in float32, but this model computes in "
            f"{graph.dtype}. Use policy='float32', or build the model after "
            "kernelearn.config.set_floatx('float32')."
        )
    return with_products_in(graph.build(), precision)


def learning_rate_multipliers(model: Trainable) -> dict[int, float]:
    """id(weight) -> factor of the learning rate, for weights of layers that set one."""
    return {
        id(weight): layer.learning_rate_multiplier
        for layer in model.flat_layers()
        for weight in layer.weights
        if layer.learning_rate_multiplier != 1.0
    }


def output_shapes(model: Trainable, signature: Signature) -> list[tuple[int | None, ...]]:
    """The shape of every output in the programs of a signature."""
    return [
        buffer.shape
        for buffer in _lower(ProgramBuilder(dtype=model.dtype, batch=signature.rows), model, signature)
    ]


def _lower(graph: ProgramBuilder, model: Trainable, signature: Signature) -> list[Buffer]:
    shapes = signature.input_shapes(model.inputs)
    named = enumerate(zip(shapes, model.inputs))
    inputs = [graph.input(input_name(i), shape, tensor.dtype) for i, (shape, tensor) in named]
    outputs = _lowered(graph, model, inputs, signature)
    predictions = list(outputs) if isinstance(outputs, tuple) else [outputs]
    graph.outputs = {prediction_name(i): b.name for i, b in enumerate(predictions)}
    return predictions


def _lowered(graph: ProgramBuilder, model: Trainable, inputs: Sequence[Buffer], signature: Signature) -> Any:
    """What the layers give; an error about the sizes of a batch says which batch it means."""
    try:
        return model.lower(graph, *inputs)
    except ShapeError as error:
        if not signature.shapes:
            raise
        raise ShapeError(f"{error} (Model {model.name!r} was given images of {signature}.)") from error


def _add_loss(
    graph: ProgramBuilder,
    model: Trainable,
    objectives: Sequence[Objective],
    predictions: Sequence[Buffer],
    positions: Sequence[int],
    signature: Signature = ANY,
) -> Buffer:
    """The weighted losses of the outputs plus penalties, labelled "loss"; the parts are loss_0, ...

    A model with a `compute_loss` of its own is trained on what that gives.
    """
    if overrides(model, "compute_loss"):
        total = own_total(graph, model, predictions, signature)
        graph.outputs[LOSS] = total.name
        return total
    parts: list[Buffer] = []
    for i, (objective, prediction) in enumerate(zip(objectives, predictions)):
        if objective.loss is not None:
            shape = signature.targets[i] if signature.targets else objective.target_shape
            part = _output_loss(graph, i, objective, prediction, i in positions, shape or ())
            graph.outputs[loss_name(i)] = part.name
            parts.append(
                part if objective.weight == 1.0 else graph.add("scale", part, factor=objective.weight)
            )
    if not parts and not graph.penalties:
        raise NotBuiltError(
            "The model was compiled without a loss, and no layer adds one with add_loss; give "
            "compile(loss=...), for example loss='mse'."
        )
    total, *rest = (*parts, *graph.penalties, *_weight_penalties(graph, model))
    for part in rest:
        total = graph.add("add", total, part)
    graph.outputs[LOSS] = total.name
    return total


def _output_loss(
    graph: ProgramBuilder,
    index: int,
    objective: Objective,
    prediction: Buffer,
    by_position: bool,
    target_shape: tuple[int | None, ...],
) -> Buffer:
    loss = objective.loss
    assert loss is not None
    dtype = "int64" if objective.has_integer_targets else graph.dtype
    target = graph.input(target_name(index), target_shape, dtype)
    weights = graph.input(weight_name(index), objective.value_shape if by_position else (None,))
    reduction = loss.reduction
    is_masked = prediction.name in graph.masks
    if is_masked:
        rank = len(objective.value_shape)
        weights = masked_weights(graph, graph.masks[prediction.name], weights, rank, reduction)
    if reduction in (None, "none"):
        raise ArgumentError(
            f"Loss {loss.name!r} has reduction=None, which gives no single number to train on."
        )
    # NOTE: the loss operator has a kernel for weights of images only, so with a mask it is made of operators.
    if loss.is_traced or (is_masked and loss.kind != "custom"):
        return own_loss(graph, loss, target, prediction, weights)
    order = loss.order(len(prediction.shape))
    if order is not None:
        prediction = graph.add("transpose", prediction, axes=order)
        target = target if objective.has_integer_targets else graph.add("transpose", target, axes=order)
    custom = {} if loss.kind != "custom" else {"custom": loss}
    value: Buffer
    value, _ = graph.add(
        "loss", prediction, target, weights, kind=loss.kind, reduction=reduction, **loss.attrs(), **custom
    )
    return value


def _weight_penalties(graph: ProgramBuilder, model: Trainable) -> list[Buffer]:
    """The regularisers of all trained weights."""
    seen: set[int] = set()
    penalties = []
    for layer in model.flat_layers():
        for weight in layer.trainable_weights:
            if weight.regularizer is not None and id(weight) not in seen:
                seen.add(id(weight))
                penalties.append(penalty(graph, weight.regularizer, layer.use(graph, weight)))
    return penalties
