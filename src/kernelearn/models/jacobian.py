"""Derivatives of a network's outputs by its trainable weights, image by image.

Training needs only the sum of the gradients over a batch; tangent kernels need those of every single image
and output, and `OutputGradients` gives them.
"""

from typing import Any

import numpy as np

from kernelearn.engine.backends import prepare
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError
from kernelearn.training.feeds import program_inputs
from kernelearn.training.steps.signature import is_open
from kernelearn.training.steps.step import input_name

_DIRECTION = "direction"


class OutputGradients:
    """The Jacobian of a model in inference mode: df_o(x)/dw for image x, output o and trainable weight w.

    The program is built once, for one image and any direction in the space of outputs; a call runs it once
    per image and output unit. The weights are read at every call; which of them are trainable is read here.
    A network that ends in softmax gives derivatives of probabilities: leave the activation out for logits.

    Cost: n x units forward and backward passes with a batch of one, no faster on a machine of many cores;
    8 or 4 bytes x n x units x parameters of memory for the result.

    Args:
        model: one input, one output, built.
    Attributes:
        weights: the trainable weights in the order of the last axis, each flattened in C order.
        units: numbers that the model gives for one image.
        dtype: of the result, that of the model's outputs.
    Raises: ArgumentError for several inputs or outputs, or if nothing is trainable.

    >>> from kernelearn import Sequential
    >>> from kernelearn.layers import Dense, Input
    >>> model = Sequential([Input((2,)), Dense(1)])
    >>> OutputGradients(model)(np.array([[3.0, 4.0]])).tolist()  # by both weights and the bias
    [[[3.0, 4.0, 1.0]]]
    """

    def __init__(self, model: Any) -> None:
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ArgumentError(
                "Output gradients need a built model with one input and one output; "
                f"{model.name!r} has {len(model.inputs)} and {len(model.outputs)}."
            )
        if is_open(model.inputs):
            raise ArgumentError(
                f"Output gradients need a model for images of one size; {model.name!r} takes "
                f"{model.input_shape[1:]}. Build it with a fixed Input and take over the weights."
            )
        self.model = model
        self.weights = list(model.trainable_weights)
        if not self.weights:
            raise ArgumentError(f"Model {model.name!r} has no trainable weights; call unfreeze() first.")
        graph = ProgramBuilder(dtype=model.dtype)
        self.units, value = _along_direction(graph, model)
        self.dtype = value.dtype
        grads = add_gradients(graph, value)
        names = {id(variable): name for name, variable in graph.variables.items()}
        self._labels = [names[id(w)] if names.get(id(w)) in grads else None for w in self.weights]
        graph.outputs = {name: grads[name].name for name in self._labels if name is not None}
        self._executable = prepare(graph.build(), graph.variables)

    def __call__(self, x: Any) -> np.ndarray:
        """(n, units, parameters) derivatives for images x (n, ...), in `dtype`.

        Raises: ShapeError for images that do not fit the model.
        """
        images = program_inputs(np.asarray(x), self.model.inputs, self.model.input_names)[input_name(0)]
        size = sum(w.value.size for w in self.weights)
        out = np.zeros((len(images), self.units, size), self.dtype)
        directions = np.eye(self.units, dtype=self.dtype)
        for number in range(len(images)):
            for unit, direction in enumerate(directions):
                inputs = {input_name(0): images[number : number + 1], _DIRECTION: direction}
                self._write(self._executable.run(inputs), out[number, unit])
        return out

    def _write(self, gradients: dict[str, np.ndarray], row: np.ndarray) -> None:
        """Gradients one after another into a row (parameters,); a weight off the path keeps its zeros."""
        start = 0
        for weight, label in zip(self.weights, self._labels):
            stop = start + weight.value.size
            if label is not None:
                row[start:stop] = gradients[label].ravel()
            start = stop


def _along_direction(graph: ProgramBuilder, model: Any) -> tuple[int, Buffer]:
    """(units, inner product of the outputs for one image with the program input "direction")."""
    tensor = model.inputs[0]
    image = graph.input(input_name(0), (1, *tensor.shape[1:]), tensor.dtype)
    output = model.lower(graph, image)
    units = int(np.prod(output.shape[1:], dtype=int))
    flat = graph.add("reshape", output, shape=(units,))
    direction = graph.input(_DIRECTION, (units,), flat.dtype)
    mean = graph.add("reduce_mean", graph.add("multiply", flat, direction), axes=(0,))
    return units, graph.add("scale", mean, factor=float(units))
