"""`.keras`: the zip of Keras 3, with metadata.json, config.json and model.weights.h5. In and out.

The weights alone can be loaded from it, too. What Keras has no place for (metadata, the range of the inputs)
lies in metadata.json, which Keras does not read.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kernelearn import __version__
from kernelearn.conversion.keras import pairing, slots
from kernelearn.conversion.keras.compiling import compile_config, compiled
from kernelearn.conversion.keras.reader import Reader
from kernelearn.conversion.keras.stores import weights_tree
from kernelearn.conversion.keras.writer import Writer, config_of
from kernelearn.errors import ArgumentError, FormatError
from kernelearn.formats import hdf5
from kernelearn.formats.foreign import open_plain, parse_json
from kernelearn.formats.native import DEFAULT_MAX_BYTES
from kernelearn.formats.safe_zip import COPY, SafeZip, damaged
from kernelearn.initializers.from_layer import values_follow
from kernelearn.models import Model
from kernelearn.storage import PathLike, atomic_write
from kernelearn.training.input_range import InputRange

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# The oldest Keras whose words the files use.
WRITTEN_VERSION = "3.0.0"
_DATE = (1980, 1, 1, 0, 0, 0)


def load_model(path: PathLike, custom_objects: Mapping[str, Any] | None, compile: bool) -> Model:
    """The model of a `.keras` file.

    Raises: FormatError, UnknownNameError.
    """
    what = repr(str(path))
    with _opened(path) as archive:
        config = _json(archive, CONFIG, what)
        metadata = _json(archive, METADATA, what)
        with _weights(archive, path) as tree:
            reader = Reader(what, version_of(metadata.get("keras_version")), custom_objects or {})
            model = built(reader, config, tree)
            pairs = pairing.of_groups(model, tree, what, not _has_names(tree))
            pairing.assign(model, pairs, False, False, COPY)
            if compile and compiled(reader, model, dict(config.get("compile_config") or {})):
                slots.take(model, _optimizer(tree), what, reader.version)
            _take_own(model, metadata.get("kernelearn"))
            reader.warn_of_policies()
    return model


def load_weights(
    model: Model, path: PathLike, by_name: bool, skip_mismatch: bool, by_position: bool
) -> list[str]:
    """The weights of a `.keras` file into a model; see `Model.load_weights`."""
    with _opened(path) as archive, _weights(archive, path) as tree:
        pairs = pairing.of_groups(model, tree, repr(str(path)), by_position)
        return pairing.assign(model, pairs, by_name, skip_mismatch, pairing.BY_POSITION)


def save_model(model: Model, path: PathLike, names: Mapping[str, str] | None = None) -> None:
    """Write a model that Keras 3 opens; `names` are those of layers that shall be called otherwise there.

    Raises: ArgumentError naming layer, class and attribute of what Keras does not have.
    """
    config = _renamed(written_config(model), names or {})
    own = {"metadata": model.metadata, "input_range": model.input_range.largest}
    metadata = {
        "keras_version": WRITTEN_VERSION,
        "written_by": f"kernelearn {__version__}",
        "kernelearn": own,
    }
    weights = io.BytesIO()
    hdf5.write(weights, weights_tree(model, with_optimizer=model.compiled))
    members = {METADATA: _text(metadata), CONFIG: _text(config), WEIGHTS: weights.getvalue()}
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)
    model.note_saved()


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A config whose layers, and what is said of them, have other names."""
    if isinstance(value, dict):
        return {key: _renamed(part, names) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value


def written_config(model: Model) -> dict[str, Any]:
    """The config of a model in Keras's words, with what `compile` was told.

    Raises: ArgumentError.
    """
    config = Writer(model).config()
    if model.compiled:
        try:
            config["compile_config"] = compile_config(model, config_of)
        except ArgumentError as error:
            raise ArgumentError(
                f"Model {model.name!r} cannot be written for Keras: {str(error).rstrip('.')}. Save a copy "
                "that is not compiled, model.clone().save(path), or save as .kernelearn. Nothing was written."
            ) from error
    return config


def built(reader: Reader, config: Any, tree: hdf5.Group) -> Model:
    """The model of a config, whose weights may not be more than the file holds."""
    count = pairing.total(member for _, member in tree.walk())
    with values_follow(count):
        model = reader.layer(config)
    if not isinstance(model, Model):
        raise FormatError(f"{reader.what} holds a {type(model).__name__}, not a model.")
    return model


def version_of(text: Any) -> tuple[int, int]:
    """(major, minor) of a version as text; (3, 0) if it says none."""
    parts = str(text or "3.0").split(".")
    if not all(part.isdigit() for part in parts[:2]):
        return (3, 0)
    return (int(parts[0]), int(parts[1]) if len(parts) > 1 else 0)


def _take_own(model: Model, own: Any) -> None:
    """What a file of our own writing says besides."""
    if isinstance(own, dict) and isinstance(own.get("metadata"), dict):
        model.metadata = own["metadata"]
        largest = own.get("input_range")
        if isinstance(largest, dict):
            model.input_range = InputRange({str(k): float(v) for k, v in largest.items()})


def _has_names(tree: hdf5.Group) -> bool:
    """Whether groups say the names of their layers; those of the first versions of Keras 3 do not."""
    return any(
        name.endswith("/vars") and "name" in member.attributes
        for name, member in tree.walk()
        if isinstance(member, hdf5.Group)
    )


def _optimizer(tree: hdf5.Group) -> list[hdf5.Array]:
    members = tree.group("optimizer/vars").members
    found = [members.get(str(number)) for number in range(len(members))]
    return [array for array in found if isinstance(array, hdf5.Array)]


@contextmanager
def _opened(path: PathLike) -> Iterator[SafeZip]:
    with open_plain(path, FormatError) as file:
        yield SafeZip(file, path, DEFAULT_MAX_BYTES, may_be_deflated=True)


@contextmanager
def _weights(archive: SafeZip, path: PathLike) -> Iterator[hdf5.Group]:
    what = f"{str(path)!r}: {WEIGHTS}"
    if WEIGHTS not in archive.names():
        raise damaged(path, f"it has no {WEIGHTS} (weights in several files are not read)")
    with hdf5.reading(io.BytesIO(archive.read(WEIGHTS)), what) as tree:
        yield tree


def _json(archive: SafeZip, name: str, what: str) -> dict[str, Any]:
    if name not in archive.names():
        raise FormatError(f"{what} is damaged or incomplete: {name} is missing. {COPY}")
    content = parse_json(archive.read(name), f"{what}: {name}", FormatError, COPY)
    if not isinstance(content, dict):
        raise FormatError(f"{what}: {name} is damaged: it should be a dict. {COPY}")
    return content


def _text(values: Any) -> bytes:
    return json.dumps(values).encode()
