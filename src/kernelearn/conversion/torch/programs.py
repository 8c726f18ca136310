"""`.pt2`: programs of `torch.export.save`. PyTorch's own loader unpickles and evaluates texts; not this one.

The archive is read here: the weights from their plain bytes, the program from its JSON, once all operators in
it are known ones, all sizes are plain expressions, and nothing is pickled.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.conversion.torch.exported import Exported
from kernelearn.conversion.torch.importing import model_of, warn
from kernelearn.errors import FormatError, KernelearnError
from kernelearn.formats.foreign import open_plain, parse_json, refused
from kernelearn.formats.safe_zip import COPY, SafeZip

_MAX_BYTES = 16 << 30
# Operators of tensors, and the arithmetic of sizes; everything else could be any code.
_TARGETS = re.compile(
    r"torch\.ops\.aten\.\w+(\.\w+)?|_operator\.(getitem|add|mul|sub|floordiv|mod|neg|eq|ge|gt|le|lt|ne)"
)
# Sizes, as texts that PyTorch evaluates: symbols s0 and u1, whole numbers, and arithmetic with them.
_EXPRESSION = re.compile(
    r"(Symbol\('[su]\d+'(, \w+=(True|False))*\)|Integer\(-?\d+\)|[su]\d+|-?\d+|, |\)"
    r"|(Add|Mul|Pow|Mod|Max|Min|FloorDiv|PythonMod|CleanDiv|IntTrueDiv)\()*"
)
_REFUSED_KEYS = {"as_custom_obj", "as_graph", "as_operator"}
# torch's number of a type -> NumPy's and torch's name. Numbers as of the schema of torch.export.
_TYPES = {
    1: ("<u1", "uint8"),
    2: ("<i1", "int8"),
    3: ("<i2", "int16"),
    4: ("<i4", "int32"),
    5: ("<i8", "int64"),
    6: ("<f2", "float16"),
    7: ("<f4", "float32"),
    8: ("<f8", "float64"),
    12: ("|b1", "bool"),
    13: ("<u2", "bfloat16"),
}


def load_model(path: Any, custom_objects: Any = None, compile: bool = True) -> Any:
    """The model of a program that was exported for any number of images.

    Raises: FormatError for what is damaged or would run code; ArgumentError for an unknown operator.
    """
    require("torch", "reading programs of torch.export")
    program = _program(path)
    with refused(repr(os.fspath(path)), FormatError, COPY, passing=(KernelearnError,)):
        model, walk = model_of(Exported(program), "channels_last", _name_of(path))
    warn(walk.net.notes, "load_model")
    return model


def _name_of(path: Any) -> str:
    stem = os.path.basename(os.fspath(path)).rpartition(".")[0]
    return re.sub(r"\W+", "_", stem) or "model"


def _program(path: Any) -> Any:
    serialize = require("torch._export.serde.serialize", "reading programs of torch.export")
    with open_plain(path, FormatError) as file:
        archive = _Archive(path, SafeZip(file, path, _MAX_BYTES))
        text = archive.read("models/model.json")
        described = parse_json(text, f"{os.fspath(path)!r}: models/model.json", FormatError, COPY)
        _check(path, described)
        weights = archive.tensors("data/weights", "weights")
        constants = archive.tensors("data/constants", "constants")
    with refused(repr(os.fspath(path)), FormatError, COPY, passing=(KernelearnError,)):
        artifact = serialize.SerializedArtifact(text, weights, constants, b"")
        return serialize.deserialize(artifact)


class _Archive:
    """The members of an archive, whose names begin with one folder."""

    def __init__(self, path: Any, zipped: SafeZip) -> None:
        self._path, self._zip = os.fspath(path), zipped
        roots = {name.partition("/")[0] for name in zipped.names()}
        if len(roots) != 1:
            raise FormatError(
                f"{self._path!r} is no program of torch.export: it has the folders {sorted(roots)[:4]}."
            )
        self._root = roots.pop()

    def read(self, name: str) -> bytes:
        """The content of a member. Raises: FormatError if there is none."""
        whole = f"{self._root}/{name}"
        if whole not in self._zip.names():
            raise FormatError(
                f"{self._path!r} has no {name}: it is no program of torch.export.save of PyTorch 2.8 or "
                "newer. "
                "Export it again."
            )
        return self._zip.read(whole)

    def tensors(self, folder: str, what: str) -> dict[str, Any]:
        """The tensors that a config lists, from their plain bytes."""
        name = f"{folder}/model_{what}_config.json"
        listed = parse_json(self.read(name), f"{self._path!r}: {name}", FormatError, COPY)
        with refused(f"{self._path!r}: {name}", FormatError, COPY):
            entries = dict(listed["config"])  # type: ignore[index]
            return {key: self._tensor(folder, key, entry) for key, entry in entries.items()}

    def _tensor(self, folder: str, key: str, entry: dict[str, Any]) -> Any:
        torch = require("torch", "reading programs of torch.export")
        if entry["use_pickle"]:
            raise FormatError(
                f"{self._path!r}: {key!r} is pickled, which could run code. Export the module again."
            )
        meta, file_name = entry["tensor_meta"], str(entry["path_name"])
        if not re.fullmatch(r"\w+", file_name) or meta["dtype"] not in _TYPES:
            raise FormatError(
                f"{self._path!r}: {key!r} has the file {file_name!r} and type {meta['dtype']!r}."
            )
        kind, name = _TYPES[meta["dtype"]]
        shape = [int(size["as_int"]) for size in meta["sizes"]]
        strides = [int(size["as_int"]) for size in meta["strides"]]
        content = np.frombuffer(self.read(f"{folder}/{file_name}"), kind)
        offset = int(meta["storage_offset"]["as_int"])
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides))
        if min([*shape, *strides, offset], default=0) < 0 or (0 not in shape and last >= content.size):
            raise FormatError(
                f"{self._path!r}: {key!r} of shape {shape} reaches over its {content.size} numbers."
            )
        values = torch.from_numpy(content.astype(content.dtype.newbyteorder("=")))
        values = values.view(torch.bfloat16) if name == "bfloat16" else values
        tensor = torch.as_strided(values, shape, strides, offset).clone()
        return torch.nn.Parameter(tensor, bool(meta["requires_grad"])) if entry["is_param"] else tensor


def _check(path: Any, described: Any) -> None:
    """Refuse a program that names what PyTorch would look up, evaluate or unpickle."""
    queue = [described]
    while queue:
        value = queue.pop()
        if isinstance(value, list):
            queue += value
        elif isinstance(value, dict):
            queue += value.values()
            for key, held in value.items():
                _check_entry(path, key, held)


def _check_entry(path: Any, key: str, held: Any) -> None:
    if key == "target" and isinstance(held, str) and "." in held:
        if not _TARGETS.fullmatch(held):
            raise FormatError(
                f"{os.fspath(path)!r} calls {held[:80]!r}, which is no operator of tensors. {COPY}"
            )
    elif key == "expr_str" and not (isinstance(held, str) and _EXPRESSION.fullmatch(held)):
        raise FormatError(
            f"{os.fspath(path)!r} has the size {json.dumps(held)[:80]}, no plain expression. {COPY}"
        )
    elif key in _REFUSED_KEYS:
        raise FormatError(f"{os.fspath(path)!r} holds {key!r}, an object of Python's or a branch. {COPY}")
