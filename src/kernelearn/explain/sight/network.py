"""A model opened up: the buffer that every layer gives, and derivatives of any score by any of them.

What shows how a model sees (feature maps, receptive fields, saliency, Grad-CAM, activation maximisation)
reads a model through this file alone. Everything is in inference mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from kernelearn.data import Dataset, StreamDataset
from kernelearn.engine.backends import prepare
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import Buffer, Operation, ProgramBuilder
from kernelearn.errors import ArgumentError, NotBuiltError, ShapeError, unknown_name
from kernelearn.layers import InputLayer
from kernelearn.layers.core.unknown_sizes import fits
from kernelearn.models import Model
from kernelearn.training.feeds import check_one_size, program_inputs
from kernelearn.training.steps.signature import is_open, of_shapes
from kernelearn.training.steps.step import Clock, input_name

BATCH_SIZE = 64
_ACTIVATIONS = ("activation", "softmax", "log_softmax", "prelu")
_DIRECTION = "direction"


@dataclass(frozen=True)
class Network:
    """A model lowered for inference, with the output of every layer.

    Attributes:
        model: what was lowered.
        graph: the program under construction; more operations may be added.
        inputs, outputs: buffers of the model.
        layers: path of a layer ("outer/inner" in nested models) -> buffer of its first call, in order.
    """

    model: Any
    graph: ProgramBuilder
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    layers: dict[str, Buffer]

    def buffer(self, layer: Any = None) -> Buffer:
        """What a layer gives: by path, by the layer itself, or (None) the output of the model.

        Raises: UnknownNameError; ArgumentError for None where the model has several outputs.
        """
        if layer is None:
            if len(self.outputs) != 1:
                raise ArgumentError(
                    f"Model {self.model.name!r} has {len(self.outputs)} outputs; say which layer is meant."
                )
            return self.outputs[0]
        name = path_of(self.model, layer)
        if name not in self.layers:
            raise unknown_name("layer", name, self.layers)
        return self.layers[name]

    def producer(self, buffer: Buffer) -> Operation | None:
        """The operation that computes a buffer; None for an input."""
        return next((op for op in self.graph.operations if buffer.name in op.outputs), None)

    def before_activation(self, buffer: Buffer) -> Buffer:
        """The input of the activation that gives `buffer` (logits below a softmax), else `buffer` itself."""
        op = self.producer(buffer)
        if op is None or op.operator not in _ACTIVATIONS:
            return buffer
        return self.graph.buffers[op.inputs[0]]


def open_network(model: Any, input_shape: Any = None) -> Network:
    """Lower a model and note what every layer gives.

    Args:
        input_shape: of one image, (64, 64, 3), for a model that takes any size; of several inputs a list.
    Raises: ArgumentError for something else than a model; NotBuiltError before its shapes are known, and for
        a model of any size without `input_shape`; ShapeError for a shape that the model does not take.
    """
    if not isinstance(model, Model):
        raise ArgumentError(f"Expected a kernelearn model, got {type(model).__name__}.")
    if not model.outputs:
        raise NotBuiltError(f"Model {model.name!r} has no shapes yet: call build(input_shape) first.")
    graph = ProgramBuilder(dtype=model.dtype)
    shapes = _input_shapes(model, input_shape)
    named = enumerate(zip(shapes, model.inputs))
    inputs = tuple(graph.input(input_name(i), shape, tensor.dtype) for i, (shape, tensor) in named)
    lowered = model.lower(graph, *inputs)
    outputs = lowered if isinstance(lowered, tuple) else (lowered,)
    starts = {
        t.node.layer.name: b for t, b in zip(model.inputs, inputs) if isinstance(t.node.layer, InputLayer)
    }
    layers = {**starts, **graph.results}
    graph.trainable.clear()  # derivatives by weights are not wanted here
    return Network(model, graph, inputs, outputs, layers)


def _input_shapes(model: Any, input_shape: Any) -> list[Any]:
    """The shape of every input, batch first."""
    if input_shape is None:
        if is_open(model.inputs):
            shapes = ", ".join(str(tensor.shape[1:]) for tensor in model.inputs)
            raise NotBuiltError(
                f"Model {model.name!r} takes images of any size, {shapes}, and this depends on it: say "
                "which, such as input_shape=(64, 64, 3)."
            )
        return [tensor.shape for tensor in model.inputs]
    several = [input_shape] if all(np.ndim(size) == 0 for size in input_shape) else list(input_shape)
    return of_shapes(several, model.inputs).input_shapes(model.inputs)


def path_of(model: Any, layer: Any) -> str:
    """The path of a layer in a model, "outer/inner" in nested ones; a path is given back as it is.

    Raises: ArgumentError for a layer that is not in the model.
    """
    if isinstance(layer, str):
        return layer
    found: str | None = next((path for path, part in model.descendants() if part is layer), None)
    if found is None:
        raise ArgumentError(f"{layer!r} is not a layer of model {model.name!r}; give a layer or its path.")
    return found


def sizes_of(buffer: Buffer) -> tuple[int, ...]:
    """The sizes of a buffer without the number of images.

    Raises: ShapeError if one is not known.
    """
    sizes = tuple(s for s in buffer.shape[1:] if s is not None)
    if len(sizes) != len(buffer.shape) - 1:
        raise ShapeError(f"{buffer} has sizes that are not known; build the model for images of one size.")
    return sizes


def channel_axis(model: Any, layer: Any, rank: int) -> int:
    """Which axis of a layer's output, (n, ...) with `rank` axes, holds the channels: the last, or 1."""
    named = None if layer is None else model.get_layer(path_of(model, layer))
    formats = [getattr(one, "data_format", None) for one in ([named] if named else [])]
    formats += [getattr(one, "data_format", None) for one in model.flat_layers()]
    first = next((f for f in formats if f), "channels_last")
    return 1 if first == "channels_first" and rank > 2 else rank - 1


def read_by(model: Any, layer: Any, input_shape: Any = None) -> tuple[int, ...]:
    """Sizes of what a layer reads first, without the number of images.

    Args:
        input_shape: of one image, for a model that takes any size.
    Raises: ArgumentError for a layer that computes nothing.
    """
    graph, path = open_network(model, input_shape).graph, path_of(model, layer)
    own = [op for op in graph.operations if op.layer == path or op.layer.startswith(f"{path}/")]
    made = {name for op in own for name in op.outputs}
    read = (graph.buffers[name] for op in own for name in op.inputs if name not in made)
    found = next((buffer for buffer in read if buffer.role in ("value", "input")), None)
    if found is None:
        raise ArgumentError(f"Layer {path!r} of model {model.name!r} computes nothing.")
    return sizes_of(found)


def images_for(model: Any, x: Any) -> np.ndarray:
    """Images as an array that fits the model's single input.

    Raises: ArgumentError for a model with several inputs; ShapeError for images that do not fit.
    """
    if len(model.inputs) != 1:
        raise ArgumentError(f"Model {model.name!r} has {len(model.inputs)} inputs; this works on one.")
    check_one_size(x)
    array = np.asarray(x.arrays()[0] if isinstance(x, Dataset) else x)
    shape = tuple(model.inputs[0].shape)
    if fits(array.shape, shape[1:]):
        raise ShapeError(f"Images must be given as a batch, (n, *{shape[1:]}): use x[None] for a single one.")
    return program_inputs(array, model.inputs, model.input_names)[input_name(0)]


def shape_for(model: Any, x: Any) -> Any:
    """The `input_shape` to open a model with for these images: None where the model knows its own.

    Raises: ShapeError for images of several sizes.
    """
    if not is_open(model.inputs):
        return None
    check_one_size(x)
    return tuple(x.x_shape if isinstance(x, Dataset | StreamDataset) else np.shape(x)[1:])


def batches_of(model: Any, x: Any, batch_size: int = BATCH_SIZE) -> Iterator[tuple[np.ndarray, Any]]:
    """(images, labels or None) in batches, in order, from an array, a Dataset or a stream."""
    if isinstance(x, Dataset | StreamDataset):
        for images, labels, _ in x.batches(batch_size):
            yield images_for(model, images), labels
        return
    images = images_for(model, x)
    for start in range(0, len(images), batch_size):
        yield images[start : start + batch_size], None


class Probe:
    """Gives what chosen layers give.

    Args:
        network: an opened model.
        buffers: label -> buffer.

    Call it with images of one batch: label -> array.
    """

    def __init__(self, network: Network, buffers: dict[str, Buffer]) -> None:
        network.graph.outputs = {label: buffer.name for label, buffer in buffers.items()}
        self._executable = _prepared(network)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = self._executable.run({input_name(0): images, **Clock().arrays()})
        return found


class ScoreGradient:
    """Derivatives of a score, sum over images n and units u of direction[n, u] * y[n, u], image by image.

    y is what a layer gives, flattened. Images do not mix in inference mode, so that the derivative by image n
    is that of its own score. The program is built once for all directions.

    Args:
        model: one input, built.
        layer: gives y; None for the output of the model.
        by: layers by whose output to derive; None stands for the images.
        before_activation: take y before the layer's activation: logits in place of probabilities.
        input_shape: of one image, for a model that takes any size.

    Call it with images (n, ...) and directions (n, units): (y (n, units), list of derivatives as `by`).
    """

    def __init__(
        self,
        model: Any,
        layer: Any = None,
        by: Sequence[Any] = (None,),
        before_activation: bool = True,
        input_shape: Any = None,
    ) -> None:
        network = open_network(model, input_shape)
        if len(network.inputs) != 1:
            raise ArgumentError(f"Model {model.name!r} has {len(network.inputs)} inputs; this works on one.")
        target = network.buffer(layer)
        target = network.before_activation(target) if before_activation else target
        self.unit_shape = sizes_of(target)
        self.units = prod(self.unit_shape)
        self._sources = [network.inputs[0] if one is None else network.buffer(one) for one in by]
        self._build(network, target)

    def _build(self, network: Network, target: Buffer) -> None:
        graph = network.graph
        flat = graph.add("reshape", target, shape=(None, self.units, 1))
        direction = graph.input(_DIRECTION, (None, self.units, 1), flat.dtype)
        # NOTE: the kernel gradient of a 1-tap convolution is an inner product over images and positions, the
        # one sum over the batch that has a gradient rule.
        attrs: dict[str, Any] = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 1}
        inner = graph.add("conv_grad_kernel", flat, direction, kernel_size=(1,), **attrs)
        score = graph.add("reshape", inner, shape=())
        gradients = add_gradients(graph, score, also=tuple(self._sources))
        graph.outputs = {"y": flat.name}
        self._forward = _prepared(network)
        for i, source in enumerate(self._sources):
            graph.outputs[f"source_{i}"] = source.name
            if source.name in gradients:
                graph.outputs[f"gradient_{i}"] = gradients[source.name].name
        self._executable = _prepared(network)

    def __call__(self, images: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        results = self._run(images, directions)
        return results["y"][..., 0], [self._gradient(results, i) for i in range(len(self._sources))]

    def with_sources(
        self, images: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """As a call, with what the layers in `by` gave as third result."""
        results = self._run(images, directions)
        count = range(len(self._sources))
        sources = [results[f"source_{i}"] for i in count]
        return results["y"][..., 0], [self._gradient(results, i) for i in count], sources

    def values(self, images: np.ndarray) -> np.ndarray:
        """y alone, (n, units)."""
        given = {input_name(0): images, **Clock().arrays()}
        return np.asarray(self._forward.run(given)["y"][..., 0])

    def _run(self, images: np.ndarray, directions: np.ndarray) -> dict[str, np.ndarray]:
        given = {input_name(0): images, _DIRECTION: np.asarray(directions)[..., None]}
        found: dict[str, np.ndarray] = self._executable.run({**given, **Clock().arrays()})
        return found

    @staticmethod
    def _gradient(results: dict[str, np.ndarray], index: int) -> np.ndarray:
        """Zeros where the score does not depend on the source."""
        found = results.get(f"gradient_{index}")
        return np.zeros_like(results[f"source_{index}"]) if found is None else found


def _prepared(network: Network) -> Any:
    return prepare(network.graph.build(), network.graph.variables)
