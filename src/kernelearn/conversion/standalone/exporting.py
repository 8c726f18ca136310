"""`export_standalone`: checks first, then writes both files, each whole or not at all."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.conversion.standalone.writing import Described, Writer, check_exportable
from kernelearn.engine.program import Program
from kernelearn.errors import ArgumentError, NotBuiltError
from kernelearn.storage import PathLike, atomic_write, check_writable, gone_if_unused
from kernelearn.training.steps.step import input_name, prediction_name

PREDICTOR, WEIGHTS = "predict.py", "weights.npz"
_TEXT_BYTES = 1_000_000
_OPTIONS = ("class_names", "input_shape", "overwrite")


def export_standalone(
    model: Any,
    directory: PathLike,
    overwrite: bool = True,
    input_shape: Any = None,
    class_names: list[str] | None = None,
) -> list[Path]:
    """Write a network as NumPy code that needs neither this library nor any other.

    `predict.py` holds the network operation by operation, with the function of every operator that it uses,
    as its formula stands in this library; `weights.npz` holds the numbers, as plain arrays. The results are
    those of the engine within rounding.

    Args:
        model: built; it need not be compiled.
        directory: made if it is not there; other files in it stay.
        overwrite: replace an export that is there already.
        input_shape: of one sample, for a model that takes any size: (64, 64, 3), or a list for several
            inputs.
        class_names: for the command line of `predict.py`; those of the training if None.
    Returns: the paths of the two files.
    Raises: ArgumentError naming the operators that have no formula in NumPy, such as code of your own;
        nothing is written then. NotBuiltError before shapes are known. StorageError.

    >>> import tempfile
    >>> from kernelearn import Sequential, layers
    >>> model = Sequential([layers.Dense(2, input_shape=(3,))])
    >>> [path.name for path in export_standalone(model, tempfile.mkdtemp())]
    ['predict.py', 'weights.npz']
    """
    folder = Path(directory)
    if not model.outputs:
        raise NotBuiltError(
            f"Model {model.name!r} has no shapes yet: build it, or predict once, before export."
        )
    step = model.step("predict", input_shape)
    program: Program = step.program
    check_exportable(program)
    weights = {b.name: step.variables[b.name].numpy() for b in program.weights()}
    text = Writer(program, _described(model, program, class_names)).text()
    there = [name for name in (PREDICTOR, WEIGHTS) if (folder / name).exists()]
    if there and not overwrite:
        raise ArgumentError(
            f"{str(folder)!r} holds {there[0]} already; choose another folder, or pass overwrite=True."
        )
    with gone_if_unused(folder):
        check_writable(folder, sum(array.nbytes for array in weights.values()) + _TEXT_BYTES)
        # Both are written before one of them is there.
        with atomic_write(folder / PREDICTOR) as code, atomic_write(folder / WEIGHTS) as numbers:
            code.write(text.encode())
            code.flush()
            _write_arrays(numbers, weights)
    return [folder / PREDICTOR, folder / WEIGHTS]


def export_model(model: Any, path: PathLike, **options: Any) -> None:
    """`Model.export(path, format="standalone")`; see `export_standalone` for the options.

    Raises: ArgumentError for an unknown option, and what `export_standalone` raises.
    """
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise ArgumentError(
            f"export as NumPy code takes the options {', '.join(_OPTIONS)}; got {unknown[0]!r}."
        )
    export_standalone(model, path, **options)


def _write_arrays(file: Any, arrays: dict[str, np.ndarray]) -> None:
    """A .npz file. NOTE: `np.savez` takes names as keywords, and a weight may be called "file"."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def _described(model: Any, program: Program, class_names: list[str] | None) -> Described:
    shapes = {buffer.name: buffer for buffer in program.inputs()}
    inputs = []
    for number, (name, tensor) in enumerate(zip(model.input_names, model.inputs)):
        buffer = shapes.get(input_name(number))
        shape = tensor.shape if buffer is None else buffer.shape
        inputs.append((name, tuple(shape[1:]), tensor.dtype))
    names = class_names or model.metadata.get("class_names")
    return Described(
        model.name,
        inputs,
        [prediction_name(number) for number in range(len(model.outputs))],
        model.output_keys,
        None if names is None else [str(name) for name in names],
    )
