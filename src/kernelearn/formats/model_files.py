"""Which kinds of files hold models, told by ending and first bytes, and who reads and writes each.

The readers and writers of other programs' files stand above the models, in `conversion`; they are looked up
by name when a file of their kind is first used.
"""

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO

from kernelearn.errors import ArgumentError, FormatError
from kernelearn.formats import native
from kernelearn.formats.foreign import open_plain
from kernelearn.storage import PathLike

_START = 4096  # bytes that tell one kind from another
# A pickled number that stood before everything in files of PyTorch until version 1.6, which were no zips.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


@dataclass(frozen=True)
class ModelFormat:
    """One kind of file of another program.

    Attributes:
        title: what the kind is called.
        endings: of file names, the longest first; none for what is asked for by name only.
        module: of `kernelearn.conversion`; it has those of these functions that make sense for the kind:
            `load_model(path, custom_objects, compile)`, `save_model(model, path)`,
            `export_model(model, path, **options)`,
            `load_weights(model, path, by_name, skip_mismatch, by_position)`, `save_weights(model, path)`.
        is_like: whether a file with these first bytes and, in a zip, these members, is of the kind.
        weights_only: whether a file with this ending holds weights and no structure.
        exports_as: the name in `Model.export(format=...)`; "" for kinds that are saved, not exported.
    """

    title: str
    endings: tuple[str, ...]
    module: str
    is_like: Callable[[bytes, set[str]], bool]
    weights_only: bool = False
    exports_as: str = ""

    def function(self, name: str, path: PathLike) -> Any:
        """A function of the module.

        Raises: ArgumentError if this kind of file is not used in this way.
        """
        module = import_module(self.module)
        found = getattr(module, name, None)
        if found is None:
            offered = [other for other in _FUNCTIONS if hasattr(module, other)]
            raise ArgumentError(
                f"{os.fspath(path)!r}: {_FUNCTIONS[name]} a file of {self.title} is not possible; "
                + ", ".join(f"{_FUNCTIONS[other]} one" for other in offered)
                + " is."
            )
        return found


_FUNCTIONS = {
    "load_model": "loading a model from",
    "save_model": "saving a model as",
    "export_model": "exporting a model to",
    "load_weights": "loading weights from",
    "save_weights": "saving weights as",
}


def _is_hdf5(start: bytes, members: set[str]) -> bool:
    return start.startswith(b"\x89HDF\r\n\x1a\n")


def _is_keras_zip(start: bytes, members: set[str]) -> bool:
    return {"config.json", "metadata.json"} <= members


def _is_torch_file(start: bytes, members: set[str]) -> bool:
    if start.startswith(_OLD_TORCH):
        return True
    return any(name.endswith("data.pkl") for name in members) and not _is_torch_program(start, members)


def _is_torch_program(start: bytes, members: set[str]) -> bool:
    names = {name.rpartition("/")[2] for name in members}
    return "archive_format" in names or "serialized_exported_program.json" in names


def _is_safetensors(start: bytes, members: set[str]) -> bool:
    return len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 27


def _is_onnx(start: bytes, members: set[str]) -> bool:
    # A protobuf message whose first field is number 1, a varint: the version of the format.
    return start[:1] == b"\x08" and 0 < start[1] < 64 if len(start) > 1 else False


def _is_folder(start: bytes, members: set[str]) -> bool:
    return False


FORMATS = (
    ModelFormat("Keras", (".keras",), "kernelearn.conversion.keras.zipped", _is_keras_zip),
    ModelFormat("Keras weights", (".weights.h5",), "kernelearn.conversion.keras.weights", _is_hdf5, True),
    ModelFormat("Keras HDF5", (".h5", ".hdf5"), "kernelearn.conversion.keras.legacy", _is_hdf5),
    ModelFormat("ONNX", (".onnx",), "kernelearn.conversion.onnx", _is_onnx, exports_as="onnx"),
    ModelFormat("torch.export", (".pt2",), "kernelearn.conversion.torch.programs", _is_torch_program),
    ModelFormat("PyTorch", (".pt", ".pth"), "kernelearn.conversion.torch.state_files", _is_torch_file, True),
    ModelFormat("safetensors", (".safetensors",), "kernelearn.conversion.safetensors", _is_safetensors),
    ModelFormat("NumPy code", (), "kernelearn.conversion.standalone", _is_folder, exports_as="standalone"),
)


def format_to_export(path: PathLike, name: str | None) -> ModelFormat:
    """The kind of file that an export makes: by its name, or by the ending.

    Raises: ArgumentError for another one, listing those that are possible.
    """
    wanted = format_to_write(path) if name is None else None
    for kind in FORMATS:
        if kind.exports_as and (kind is wanted or kind.exports_as == name):
            return kind
    known = " or ".join(
        f"{kind.exports_as!r} ({kind.endings[0] if kind.endings else 'a folder'})"
        for kind in FORMATS
        if kind.exports_as
    )
    asked = f"format={name!r}" if name is not None else f"{os.fspath(path)!r}"
    raise ArgumentError(
        f"A model is exported as {known}; got {asked}. model.save(path) writes the other formats."
    )


def format_to_write(path: PathLike) -> ModelFormat | None:
    """The kind of file that an ending asks for; None for the own format."""
    name = os.fspath(path).lower()
    return next((kind for kind in FORMATS if name.endswith(kind.endings)), None)


def format_to_read(path: PathLike) -> ModelFormat | None:
    """The kind of a file by what is in it, and by its ending where several kinds begin alike.

    Returns: None for the own format, and for what is unknown (whose reader says so).
    Raises: FileNotFoundError; FormatError for what is no file, and for one of an unknown kind whose ending
        promises a known one.
    """
    with open_plain(path, FormatError) as file:
        start = file.read(_START)
        file.seek(0)
        members = _members(file) if start.startswith(b"PK") else set()
    alike = [kind for kind in FORMATS if kind.is_like(start, members)]
    promised = format_to_write(path)
    if promised in alike:
        return promised
    if promised is not None and not alike and native.HEADER not in members:
        seems = native.seems(start, members) or native.begins(start, members)
        raise FormatError(
            f"{os.fspath(path)!r} is not a file of {promised.title}: {seems}. Nothing was loaded."
        )
    return alike[-1] if alike else None


def _members(file: BinaryIO) -> set[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            return set(archive.namelist())
    except Exception:  # NOTE: a damaged zip is told by its reader, by name.
        return set()
