"""Where kernels come from: an array, a layer, a model or a run; always as (*size, channels, filters)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, NonFiniteError, NotBuiltError, ShapeError
from kernelearn.explain.runs import is_run, opened
from kernelearn.explain.sight.network import path_of
from kernelearn.models import Model


@dataclass(frozen=True, eq=False)
class Kernels:
    """The kernels of a layer in one order, whatever the layer stores.

    Attributes:
        values: (*size, channels, filters) float64. A transposed convolution's two last axes are swapped; each
            channel of a depthwise kernel counts as a filter of its own.
        layer: its path, "" for an array.
        step: of a recorded run, else None.
    """

    values: np.ndarray = field(repr=False)
    layer: str = ""
    step: int | None = None

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size."""
        return self.values.shape[:-2]

    @property
    def name(self) -> str:
        """For titles: the layer and the step."""
        parts = [self.layer or "kernel"] + ([] if self.step is None else [f"step {self.step}"])
        return ", ".join(parts)


def kernels_of(source: Any, layer: Any = None, step: int | None = None, weight: str = "kernel") -> Kernels:
    """The convolution kernels of an array, a layer, a layer of a model, or a layer and step of a run.

    Args:
        source: array (*size, channels, filters), built layer, model, or run.
        layer: path of the layer in a model or run; None for the first convolution.
        step: of a run; None for the last recorded one.
        weight: name of the weight in the layer.
    Raises: ShapeError without spatial axes, NonFiniteError for NaN, ArgumentError, NotBuiltError.
    """
    source = opened(source)
    found = _stored(source, layer, step, weight)
    if not np.isfinite(found.values).all():
        raise NonFiniteError(f"The kernels of {found.name} hold NaN or infinity: look at an earlier step.")
    return found


def _stored(source: Any, layer: Any, step: int | None, weight: str) -> Kernels:
    if isinstance(source, np.ndarray):
        return Kernels(as_filters(source, ""))
    if is_run(source):
        return _recorded(source, layer, step, weight)
    path = ""
    if isinstance(source, Model):
        path = first_convolution(source) if layer is None else path_of(source, layer)
        source = source.get_layer(path)
    found = getattr(source, weight, None)
    if found is None:
        built = getattr(source, "built", True)
        if not built:
            raise NotBuiltError(f"Layer {source.name!r} has no weights yet: give it an input_shape.")
        raise ArgumentError(f"{type(source).__name__} {source!r} has no weight {weight!r}.")
    values = as_filters(np.asarray(found.value), type(source).__name__)
    return Kernels(values, path or source.name)


def first_convolution(model: Any) -> str:
    """Path of the first layer with a convolution kernel.

    Raises: ArgumentError if there is none.
    """
    for path, weight in model.weight_paths().items():
        if path.endswith("kernel") and len(weight.shape) > 2:
            return str(path.rpartition("/")[0])
    raise ArgumentError(f"Model {model.name!r} has no convolution kernel.")


def layer_kind(run: Any, layer: str) -> str:
    """Class name of a recorded layer; "" if the run does not say."""
    try:
        return type(run.model().get_layer(layer)).__name__
    except ArgumentError:
        return ""


def _recorded(run: Any, layer: Any, step: int | None, weight: str) -> Kernels:
    path = str(getattr(layer, "name", layer) or _first_recorded(run, weight))
    at = int(run.weight_steps(path, weight)[-1]) if step is None else int(step)
    return Kernels(as_filters(run.kernels(path, at, weight), layer_kind(run, path)), path, at)


def _first_recorded(run: Any, weight: str) -> str:
    for layer in run.layers:
        if weight in run.weights(layer) and len(run.shape_of(layer, weight)) > 2:
            return str(layer)
    raise ArgumentError(f"No layer of this run has a convolution weight {weight!r}; it has {run.layers}.")


def as_filters(kernel: np.ndarray, kind: str) -> np.ndarray:
    """A stored kernel as (*size, channels, filters), float64.

    Args:
        kind: class name of the layer; "" for a plain convolution.
    Raises: ShapeError without spatial axes.
    """
    values = np.asarray(kernel, np.float64)
    if values.ndim < 3:
        raise ShapeError(
            f"A convolution kernel has the shape (*size, channels, filters); got {values.shape}."
        )
    if "Transpose" in kind:
        return values.swapaxes(-1, -2)
    if "Depthwise" in kind or "Separable" in kind:
        return values.reshape(*values.shape[:-2], 1, -1)
    return values
