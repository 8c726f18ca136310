"""All numbers that one run of a network computed: every buffer, and every gradient of a training step.

Forward and backward explanations read these arrays; nothing of the model is changed.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Buffer, Operation, Program
from kernelearn.errors import ArgumentError, ShapeError, unknown_name
from kernelearn.explain.sight.network import images_for
from kernelearn.recording.factors import KINDS
from kernelearn.training.feeds import program_inputs
from kernelearn.training.steps.step import Batch, Clock

Index = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Replay:
    """One run of a program.

    Attributes:
        program: what ran, before an engine joined operations.
        values: name of a buffer -> array, for inputs, weights and everything computed.
        rows: number of images.
    """

    program: Program
    values: Mapping[str, np.ndarray]
    rows: int

    @cached_property
    def graph(self) -> Graph:
        """The program as a graph."""
        return Graph(self.program)

    def value(self, name: str) -> np.ndarray:
        """What a buffer held."""
        return self.values[name]

    def gradient(self, name: str) -> np.ndarray | None:
        """dL/d(buffer); None where none was computed."""
        found = self.program.gradients.get(name)
        return None if found is None else self.values.get(found)

    def readers(self, name: str) -> list[Operation]:
        """The operations of the forward pass that read a buffer, in order."""
        return [op for op in self.graph.readers(name) if op.phase == "forward"]

    def units_of(self, layer: str) -> Operation:
        """The convolution or dense operation of a layer: the last one, which makes its units.

        Raises: UnknownNameError for a layer without one.
        """
        having = {op.layer: op for op in self.program.operations if _makes_units(op)}
        if layer not in having:
            raise unknown_name("layer with a kernel", layer, having)
        return having[layer]

    def has_images(self, name: str) -> bool:
        """Whether a buffer has the images on its first axis."""
        shape = self.program.buffers[name].shape
        return bool(shape) and shape[0] is None


def _makes_units(op: Operation) -> bool:
    return op.phase == "forward" and op.operator in KINDS


def replay_prediction(model: Any, images: np.ndarray) -> Replay:
    """Run a model on images (n, ...) of its single input, in inference mode; see `one_image`."""
    batch = Batch.of(program_inputs(images, model.inputs, model.input_names))
    step = model.programs.step_on("predict", batch)
    wanted = {name: name for op in step.program.operations for name in op.outputs}
    found = _keeping(step, wanted).run(batch).outputs
    return Replay(step.program, {**_weights(step), **batch.arrays, **_kept(found, wanted)}, len(images))


def replay_training(model: Any, x: Any, y: Any, sample_weight: Any = None, seed: int = 0) -> Replay:
    """Run a training step of a model on one batch without its updates: forward, loss and backward.

    Args:
        model: compiled.
        seed: of dropout and augmentation.
    Raises: NotBuiltError for a model without a loss.
    """
    batch = model.batch(x, y, sample_weight)
    step = model.programs.step_on("train", batch)
    clock = Clock.of(model.optimizer, seed)
    computed = (op for op in step.program.operations if op.phase != "update")
    wanted = {name: name for op in computed for name in op.outputs if _is_value(step.program.buffers[name])}
    found = step.keeping(wanted).without_updates().run(batch, clock).outputs
    values = {**_weights(step), **batch.arrays, **clock.arrays(), **_kept(found, wanted)}
    return Replay(step.program, values, batch.rows)


# Executable of a step -> the same step with all its numbers kept, as long as somebody has the first.
_KEPT: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def _keeping(step: Any, wanted: Mapping[str, str]) -> Any:
    """The step that gives all its numbers; made once for each."""
    if step.executable not in _KEPT:
        _KEPT[step.executable] = step.keeping(wanted)
    return _KEPT[step.executable]


def one_image(model: Any, image: Any) -> np.ndarray:
    """(1, ...) one image for the model's single input.

    Raises: ShapeError for another shape.
    """
    if len(model.inputs) != 1:
        raise ArgumentError(f"Model {model.name!r} has {len(model.inputs)} inputs; this works on one.")
    array, wanted = np.asarray(image), tuple(model.inputs[0].shape[1:])
    array = array[None] if array.ndim == len(wanted) else array
    if array.ndim != len(wanted) + 1 or len(array) != 1:
        raise ShapeError(f"One image of the shape {wanted} is explained at a time; got {np.shape(image)}.")
    return images_for(model, array)


def _is_value(buffer: Buffer) -> bool:
    return buffer.role == "value"


def _weights(step: Any) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in step.variables.items()}


def _kept(found: Mapping[str, np.ndarray], wanted: Mapping[str, str]) -> dict[str, np.ndarray]:
    return {name: np.asarray(found[name]) for name in wanted}
