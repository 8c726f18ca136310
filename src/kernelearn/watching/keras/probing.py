"""Feature maps of probe images: the outputs of layers with kernels, in inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from kernelearn.watching.keras.names import Names, array_of
from kernelearn.watching.keras.products import replaced
from kernelearn.watching.seen import Array


class Probing:
    """Probe images and what the layers with kernels give for them.

    Args:
        images: (n, ...) array as the model takes them.
    """

    def __init__(self, model: Any, names: Names, images: Any) -> None:
        self._model, self._images = model, array_of(images)
        kernels = (path for path, shape in names.shapes.items() if len(shape) > 1)
        found = dict.fromkeys(path.rpartition("/")[0] for path in kernels)
        self._layers = {name: names.layers[name] for name in found}

    def images(self) -> dict[str, Array]:
        """What a record of the images holds."""
        return {"images": self._images, "ids": np.full(len(self._images), -1, np.int64)}

    def maps(self) -> Mapping[str, Array]:
        """Layer -> its output for the images, as the layer gives it."""
        found: dict[str, Array] = {}
        with ExitStack() as stack:
            for name, layer in self._layers.items():
                stack.enter_context(replaced(layer, "call", _keeping(layer.call, name, found)))
            self._model(self._images, training=False)
        return {name: found[name] for name in self._layers if name in found}


def _keeping(call: Callable[..., Any], name: str, found: dict[str, Array]) -> Callable[..., Any]:
    def function(*arguments: Any, **options: Any) -> Any:
        output = call(*arguments, **options)
        if hasattr(output, "shape"):
            found[name] = array_of(output)
        return output

    return function
