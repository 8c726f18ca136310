"""Foreign files computed by the programs that they are from: what a conversion is compared with.

NOTE: a file is opened here by its own program, which may run what it names; only on demand, for files that
one trusts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.formats.model_files import format_to_read

Arrays = list[np.ndarray]
Runner = Callable[[Path, Arrays], Arrays]
_BACKENDS = ("tensorflow", "jax", "torch")


def runner_for(path: Path) -> Runner | None:
    """What computes a file by its own program; None for our own files and for weights alone.

    Raises: MissingDependencyError, when it is called, where the program is not installed.
    """
    kind = format_to_read(path)
    return None if kind is None else _RUNNERS.get(kind.title)


def _keras(path: Path, inputs: Arrays) -> Arrays:
    if "KERAS_BACKEND" not in os.environ:
        from importlib.util import find_spec

        found = [name for name in _BACKENDS if find_spec(name) is not None]
        os.environ.update({"KERAS_BACKEND": found[0]} if found else {})
    keras = require("keras", "comparing with Keras")
    model = keras.saving.load_model(path, compile=False)
    return _listed(model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0))


def _onnxruntime(path: Path, inputs: Arrays) -> Arrays:
    runtime = require("onnxruntime", "comparing with ONNX Runtime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = session.get_inputs()
    arrays = [_laid_out(array, one.shape) for one, array in zip(taken, inputs, strict=True)]
    results: Arrays = session.run(None, {one.name: array for one, array in zip(taken, arrays)})
    return results


def _torch(path: Path, inputs: Arrays) -> Arrays:
    torch = require("torch", "comparing with PyTorch")
    module = torch.export.load(str(path)).module()
    with torch.no_grad():
        given = module(*(torch.from_numpy(np.ascontiguousarray(channels_first(x))) for x in inputs))
    return [part.numpy() for part in (given if isinstance(given, list | tuple) else [given])]


def _laid_out(array: np.ndarray, shape: Sequence[Any]) -> np.ndarray:
    """Images with their channels where the program takes them."""
    fits = [a for a in (array, channels_first(array)) if _fits(a.shape, shape)]
    # NOTE: where both fit, sizes do not tell; networks with fixed channels do, and ONNX's own are in front.
    return np.ascontiguousarray(fits[-1] if fits else array)


def _fits(have: Sequence[int], want: Sequence[Any]) -> bool:
    return len(have) == len(want) and all(
        not isinstance(w, int) or w == h for h, w in zip(have[1:], want[1:])
    )


def channels_first(array: np.ndarray) -> np.ndarray:
    """(n, ..., c) as (n, c, ...); what has no channels as it is."""
    return np.moveaxis(array, -1, 1) if array.ndim > 2 else array


def _listed(given: Any) -> Arrays:
    parts = list(given.values()) if isinstance(given, dict) else given
    return [np.asarray(part) for part in parts] if isinstance(parts, list | tuple) else [np.asarray(parts)]


def alike(theirs: Arrays, shapes: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
    """Their outputs with channels last, where ours are."""
    for array, shape in zip(theirs, shapes, strict=True):
        is_turned = array.ndim > 2 and array.shape != tuple(shape) and array.ndim == len(shape)
        yield np.moveaxis(array, 1, -1) if is_turned else array


_RUNNERS: dict[str, Runner] = {
    "Keras": _keras,
    "Keras HDF5": _keras,
    "ONNX": _onnxruntime,
    "torch.export": _torch,
}
