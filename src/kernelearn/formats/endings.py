"""Endings that promise a format that is not written here: no file of the own format gets one of them.

Those that are written are in `model_files.FORMATS`.
"""

import os
from pathlib import PurePath

from kernelearn.errors import ArgumentError
from kernelearn.storage import PathLike

_FOREIGN = {
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
