"""What a report is made from: the run, its model, images, names, and what is known about the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from kernelearn.errors import KernelearnError
from kernelearn.explain.choices import batch_images, by_number, is_convolution, kernel_layers, some_steps

_MOST_LAYERS = 6
MOST_STEPS = 2000


@dataclass
class Material:
    """Everything that the sections read.

    Attributes:
        run: `recording.Run`.
        images: (n, ...) images of the data for patches and maps, or None.
        labels: (n,) their class numbers, or None.
        about: "command", "arguments", "versions", "results", "data" of the training, as far as known.
        experiments: `explain.ExperimentResult`s.
        training: the data that the run was trained on: a Dataset, (x, y), or None.
    """

    run: Any
    images: Any = None
    labels: Any = None
    about: dict[str, Any] = field(default_factory=dict)
    experiments: Sequence[Any] = ()
    training: Any = None
    _batches: dict[int, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def model(self) -> Any:
        """The network with its last recorded weights.

        Raises: KernelearnError if the run cannot rebuild it.
        """
        return self.run.model()

    @property
    def training_arrays(self) -> tuple[Any, Any]:
        """(x, y) of what the run was trained on, or (None, None)."""
        if self.training is None or not isinstance(self.training, tuple | list):
            return self.training, None
        x, y = self.training
        return x, y

    @property
    def class_names(self) -> Sequence[str] | None:
        """Names of the classes, or None."""
        return self.run.about.class_names

    def class_name(self, number: Any) -> str:
        """The name of a class, or its number."""
        return str(self.run.about.class_name(number))

    @cached_property
    def layers(self) -> dict[str, str]:
        """Recorded layers with a kernel -> the name of it."""
        return kernel_layers(self.run)

    @cached_property
    def convolutions(self) -> dict[str, str]:
        """Those whose kernel has spatial axes."""
        return {layer: name for layer, name in self.layers.items() if is_convolution(self.run, layer)}

    @cached_property
    def steps(self) -> np.ndarray:
        """The recorded steps that curves are made from: all, or evenly spread ones of a long run."""
        return some_steps(self.run.steps, MOST_STEPS)

    def steps_of(self, layer: str) -> list[int]:
        """Those at which the kernel of a layer is known."""
        return some_steps(self.run.weight_steps(layer, self.layers[layer]), MOST_STEPS).tolist()

    def which_steps(self) -> str:
        """A sentence about the steps that are left out; "" if none is."""
        shown, count = len(self.steps), len(self.run.steps)
        return f" Made from {shown:,} of {count:,} recorded steps, spread evenly." if shown < count else ""

    def path_of(self, layer: str, name: str, index: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """(steps, values) of one number of a weight: at `steps`, and on both sides of every ledger."""
        if len(self.steps) == len(self.run.steps):
            return self.run.trace(layer, index, name)
        ledgers = self.run.ledger_steps_of(layer, name)
        wanted = np.unique(np.concatenate([self.steps, ledgers, ledgers - 1]))
        found = np.intersect1d(wanted, self.run.weight_steps(layer, name))
        return found, np.array([self.run.kernels(layer, int(k), name)[index] for k in found])

    @property
    def some_convolutions(self) -> dict[str, str]:
        """Those that get pictures: all of a few, or six spread over a deep network."""
        names = list(self.convolutions)
        chosen = [names[i] for i in some_steps(range(len(names)), _MOST_LAYERS)] if names else []
        return {layer: self.convolutions[layer] for layer in chosen}

    def which_layers(self) -> str:
        """A sentence about the layers that are left out; "" if none is."""
        shown, count = len(self.some_convolutions), len(self.convolutions)
        return f" {shown} of {count} convolutions are shown." if shown < count else ""

    def batch_image(self, step: int) -> Any:
        """A function: number of an image of that step -> the image as the network got it; None if unknown."""
        if step not in self._batches:
            try:
                found = by_number(batch_images(self.run, step), self.run.batch(step).images)
            except KernelearnError:
                found = None
            self._batches[step] = found
        return self._batches[step]

    @property
    def image_shape(self) -> Any:
        """The `input_shape` to explain a network of any size with, that of the probes; else None."""
        is_any = None in self.model.inputs[0].shape[1:]
        return tuple(self.probes.shape[1:]) if is_any and self.probes is not None else None

    @cached_property
    def probes(self) -> np.ndarray | None:
        """(n, ...) a few images to show the network at work on."""
        found = self.run.probe_images
        if isinstance(found, np.ndarray):
            return found
        return None if self.images is None else np.asarray(self.images[:8])
