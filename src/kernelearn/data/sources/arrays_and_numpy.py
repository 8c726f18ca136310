"""Arrays, and the files NumPy writes: (x, y), dicts of arrays, .npz, .npy pairs and folders of .npy.

Object arrays are refused, because NumPy stores them as pickles and reading a pickle runs what is in it.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.data.archives import open_zip, read_member
from kernelearn.data.arrays import is_torch
from kernelearn.data.dataset import Dataset
from kernelearn.data.sources.common import Parts, ReadOptions, assemble, image_dataset, local_name
from kernelearn.errors import DataError
from kernelearn.formats import npy
from kernelearn.formats.foreign import open_plain

_IMAGES = ("x", "images", "data", "imgs")
_LABELS = ("y", "labels", "label", "targets", "target")
_ROLES = {"train": ("train",), "test": ("test",), "validation": ("val", "valid", "validation")}
_NAMES = ("class_names", "target_names", "label_names", "classes", "names")
# What the list of sources says of it.
ACCEPTED = (
    ("x.npz, x.npy", "arrays x_train, y_train, x_test, y_test, or x, y, or images, labels"),
    ("arrays", "(x, y) or ((x_train, y_train), (x_test, y_test)), from Python"),
)


def matches(source: Any) -> bool:
    """Whether `source` is arrays or a file or folder of NumPy's."""
    if isinstance(source, Path):
        if source.is_dir():
            return any(source.glob("*.npy"))
        return source.suffix.lower() in (".npz", ".npy")
    return isinstance(source, np.ndarray) or _is_pair(source) or _is_mapping(source) or is_array_like(source)


def read(source: Any, options: ReadOptions) -> Parts:
    """Train and test part by the names of the arrays; see `load` for the names known.

    Raises: DataError for missing labels, pickles and damaged files.
    """
    if isinstance(source, Path):
        return _read_path(source, options)
    if isinstance(source, Mapping):
        return _read_mapping(dict(source), "arrays", options)
    if _is_pair(source):
        first, second = source
        return _read_pair(first, second, options)
    raise DataError("Only images came, without labels. Give load((x, y)).")


def _read_pair(first: Any, second: Any, options: ReadOptions) -> Parts:
    """Two file names, two pairs of arrays, or images and labels."""
    if isinstance(first, str | Path):
        paths = Path(first), Path(second)
        x, y = (_load_npy(path) for path in paths)
        return _read_mapping({"x": x, "y": y}, local_name(paths[0]), options)
    # NOTE: only tuples, as Keras's load_data gives them: two nested lists are two images.
    if isinstance(first, tuple) and isinstance(second, tuple) and _is_pair(first) and _is_pair(second):
        train = image_dataset(first[0], first[1], options, what="x_train")
        test = image_dataset(second[0], second[1], options, what="x_test")
        return assemble("arrays", {"train": train, "test": test})
    return assemble("arrays", {"train": image_dataset(first, second, options)})


def is_array_like(source: Any) -> bool:
    """Whether `source` is one array, tensor or data frame."""
    return hasattr(source, "__array__") and not hasattr(source, "features")


def _is_pair(source: Any) -> bool:
    """(x, y), of arrays, lists or file names, or ((x_train, y_train), (x_test, y_test))."""
    if not isinstance(source, tuple | list) or len(source) != 2:
        return False
    if all(isinstance(item, str | Path) for item in source):
        return all(str(item).endswith(".npy") for item in source)
    return all(isinstance(item, list | tuple) or hasattr(item, "__array__") for item in source)


def _is_mapping(source: Any) -> bool:
    if not isinstance(source, Mapping):
        return False
    return all(
        isinstance(item, list | tuple) or hasattr(item, "__array__") or is_torch(item)
        for item in source.values()
    )


def _read_path(path: Path, options: ReadOptions) -> Parts:
    if path.is_dir():
        arrays = {file.stem: _load_npy(file) for file in sorted(path.glob("*.npy"))}
        return _read_mapping(arrays, local_name(path), options, str(path))
    if path.suffix.lower() == ".npz":
        return _read_mapping(_Npz(path, options.max_bytes), local_name(path), options, str(path))
    siblings = {file.stem: file for file in sorted(path.parent.glob("*.npy"))}
    partner = siblings.get(_label_name(path.stem) or "")
    if partner is None:
        raise DataError(
            f"{path} has no labels: none of {_partner_names(path.stem)} lies beside it. Give both as "
            'load(("x.npy", "y.npy")).'
        )
    return _read_mapping(
        {"x": _load_npy(path), "y": _load_npy(partner)},
        local_name(path),
        options,
        str(path),
    )


def _load_npy(path: Path) -> np.ndarray:
    """The array of a .npy file, mapped into memory and not read, so it may be larger than memory."""
    try:
        with open_plain(path) as file:
            return npy.mapped(file, os.fstat(file.fileno()).st_size, str(path))
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error


class _Npz(Mapping[str, np.ndarray]):
    """The arrays of a .npz file by name, each read when it is asked for and its checksum compared."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._archive = path, open_zip(path, max_bytes)
        names = (member.filename for member in self._archive.infolist())
        self._members = {name.removesuffix(".npy"): name for name in names if name.endswith(".npy")}

    def __getitem__(self, key: str) -> np.ndarray:
        member = self._members[key]
        return npy.parse(read_member(self._archive, member), f"{member} in {self._path}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def _read_mapping(
    arrays: Mapping[str, Any], name: str, options: ReadOptions, where: str = "The dict"
) -> Parts:
    class_names = _class_names(arrays)
    found = _pairs_by_role(arrays, options)
    if not found:
        raise DataError(
            f"{where} has no known pair of names, only {sorted(arrays)}. Known are x_train and y_train "
            "(with x_test "
            'and y_test), x and y, images and labels; for others give x_column="..." and y_column="...".'
        )
    parts: dict[str, Dataset | None] = {
        role: image_dataset(arrays[x], arrays[y], options, class_names, x) for role, (x, y) in found.items()
    }
    return assemble(name, parts)


def _class_names(arrays: Mapping[str, Any]) -> list[str] | None:
    """Names of the classes, where the file has a string array called so."""
    for key in _NAMES:
        if key in arrays and (names := np.asarray(arrays[key])).dtype.kind in "US":
            return [str(value) for value in names.ravel()]
    return None


def _pairs_by_role(arrays: Mapping[str, Any], options: ReadOptions) -> dict[str, tuple[str, str]]:
    """role -> (key of the images, key of the labels)."""
    if options.x_column is not None or options.y_column is not None:
        return {
            "train": (_named(arrays, options.x_column, _IMAGES), _named(arrays, options.y_column, _LABELS))
        }
    keys = {key.lower(): key for key in arrays}
    found = {}
    for role, words in _ROLES.items():
        images = _first(keys, [name for stem in _IMAGES for word in words for name in _with_role(stem, word)])
        labels = _first(keys, [name for stem in _LABELS for word in words for name in _with_role(stem, word)])
        if images and labels:
            found[role] = (images, labels)
    if not found:
        images, labels = _first(keys, _IMAGES), _first(keys, _LABELS)
        if (images is None or labels is None) and {"arr_0", "arr_1"} <= set(keys):
            images, labels = "arr_0", "arr_1"
        if images and labels:
            found["train"] = (images, labels)
    return found


def _with_role(stem: str, word: str) -> tuple[str, ...]:
    return f"{stem}_{word}", f"{word}_{stem}", f"{stem}{word}"


def _first(keys: Mapping[str, str], names: Any) -> str | None:
    return next((keys[name] for name in names if name in keys), None)


def _named(arrays: Mapping[str, Any], column: str | None, usual: tuple[str, ...]) -> str:
    if column is None:
        column = _first({key.lower(): key for key in arrays}, usual)
    if column is None or column not in arrays:
        raise DataError(
            f"There is no array {column!r} among {sorted(arrays)}. Give both x_column= and y_column=."
        )
    return column


def _label_name(stem: str) -> str | None:
    """The name of the labels that belong to images called `stem`: y_train for x_train."""
    return next(iter(_partner_names(stem)), None)


def _partner_names(stem: str) -> list[str]:
    for images, labels in zip(_IMAGES, _LABELS):
        parts = stem.split("_")
        if images in (part.lower() for part in parts):
            return ["_".join(labels if part.lower() == images else part for part in parts)]
    return []
