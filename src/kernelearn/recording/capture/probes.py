"""The probe images of a run: a few images whose feature maps are recorded again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelearn.data import Dataset
from kernelearn.engine.backends import prepare
from kernelearn.recording.files.layout import Field, little
from kernelearn.training.feeds import program_inputs
from kernelearn.training.steps.building import build_prediction
from kernelearn.training.steps.signature import of_batch
from kernelearn.training.steps.step import Batch, input_name, prediction_name
from kernelearn.training.steps.step_program import StepProgram

DEFAULT_COUNT = 8


class Probes:
    """The images whose feature maps are recorded, and the program that makes the maps.

    Args:
        inputs: input name -> (images, ...) array.
        ids: (images,) row numbers in the data, -1 for images given by hand.
        layers: whose outputs to record.
    """

    def __init__(self, model: Any, inputs: Mapping[str, np.ndarray], ids: np.ndarray, layers: Sequence[str]):
        self.inputs, self.ids, self.layers = dict(inputs), np.asarray(ids, np.int64), list(layers)
        part = model.model_of(layers)
        built = build_prediction(part, of_batch(Batch.of(self.inputs), part.inputs))
        program = built.program
        self._outputs = [program.buffers[program.outputs[prediction_name(i)]] for i in range(len(layers))]
        self._step = StepProgram("predict", prepare(program, built.variables, model.engine))

    def __len__(self) -> int:
        return len(self.ids)

    def maps(self) -> dict[str, np.ndarray]:
        """Layer -> its output for the images, with the weights of now, in inference mode."""
        result = self._step.run(Batch.of(self.inputs))
        return {name: result.prediction(i) for i, name in enumerate(self.layers)}

    def fields(self) -> list[Field]:
        """Of the record of the images themselves."""
        images = [Field(_image_field(n), little(a.dtype), a.shape) for n, a in self.inputs.items()]
        return [*images, Field("ids", "<i8", self.ids.shape)]

    def arrays(self) -> dict[str, np.ndarray]:
        """What `fields` describes."""
        return {**{_image_field(name): array for name, array in self.inputs.items()}, "ids": self.ids}

    def map_fields(self) -> list[Field]:
        """Of a record of feature maps."""
        return [
            Field(name, little(buffer.dtype), (len(self), *buffer.shape[1:]))
            for name, buffer in zip(self.layers, self._outputs)
        ]


def _image_field(name: str) -> str:
    return "images" if name == input_name(0) else f"images{name.removeprefix('x')}"


def spread_rows(total: int, count: int) -> np.ndarray:
    """Row numbers spread over data that may be sorted by class.

    >>> spread_rows(10, 4)
    array([0, 3, 6, 9])
    """
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))


def make_probes(model: Any, given: Any, layers: Sequence[str]) -> Probes | None:
    """The probes that a user asked for; None for none, or if a stream has no images to choose from.

    Args:
        given: images as the model takes them, a number to choose from the data, or None for `DEFAULT_COUNT`.
    Raises: ShapeError for images that the model does not take.
    """
    if given is None or isinstance(given, int | np.integer):
        found = _images_of(model.fit_data, DEFAULT_COUNT if given is None else int(given))
        if found is None:
            return None
        inputs = program_inputs(found[0], model.inputs, model.input_names)
        return Probes(model, inputs, found[1], layers)
    inputs = program_inputs(_as_arrays(given), model.inputs, model.input_names)
    return Probes(model, inputs, np.full(Batch.of(inputs).rows, -1), layers)


def _images_of(data: Any, count: int) -> tuple[Any, np.ndarray] | None:
    """Some images of the data and their row numbers; None for a stream."""
    if not isinstance(data, Dataset) or not count:
        return None
    rows = spread_rows(len(data), count)
    if data.has_several_sizes:  # maps of one size only: of the commonest
        same = data.rows_of_most_common_size()
        rows = same[spread_rows(len(same), count)]
    return next(iter(data.subset(rows).batches(len(rows))))[0], rows


def _as_arrays(images: Any) -> Any:
    if isinstance(images, Mapping):
        return {name: np.asarray(part) for name, part in images.items()}
    if isinstance(images, list | tuple) and all(hasattr(part, "shape") for part in images):
        return [np.asarray(part) for part in images]
    return np.asarray(images)
