"""Endings that promise another program's format: no file of the own format is written under one of them."""

import os
from pathlib import PurePath

from kernelearn.errors import ArgumentError
from kernelearn.storage import PathLike

_FOREIGN = {
    ".keras": "Keras",
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".onnx": "ONNX",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".safetensors": "safetensors",
    ".pb": "TensorFlow",
    ".tflite": "TensorFlow Lite",
    ".npz": "NumPy",
    ".npy": "NumPy",
    ".mat": "MATLAB",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".joblib": "joblib",
    ".json": "JSON",
}


def check_own_ending(path: PathLike) -> None:
    """Make sure that a file of the own format will not look like another program's.

    Raises: ArgumentError naming the format that the ending stands for, and a name to use instead.
    """
    name = os.fspath(path)
    ending = PurePath(name).suffix.lower()
    if ending in _FOREIGN:
        own = f"{name[: -len(ending)].removesuffix('.weights')}.kernelearn"
        raise ArgumentError(
            f"{name!r} ends like a file of {_FOREIGN[ending]}, and what is saved is of kernelearn's own "
            f"format, which other programs do not read. Name it {own!r}."
        )
