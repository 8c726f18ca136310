"""manifest.json: what a run folder holds and how to read it. Replaced whole, with a checksum.

format, format_version, library_version, checksum
run            number of the run, 16 hexadecimal digits, also in the header of every record
generation     how often records were taken back: a reader then begins again
about          of the whole run: the model's config and what else the writer knew
segments       for every stretch of equal layout: first step, streams (`Layout.to_json`), optimizer, ...
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernelearn import __version__
from kernelearn.errors import ArgumentError, DataError, FormatError
from kernelearn.formats.foreign import parse_json, read_plain
from kernelearn.formats.json_shape import Every, check_json
from kernelearn.storage import atomic_write

MANIFEST = "manifest.json"
FORMAT = "kernelearn run"
FORMAT_VERSION = 1
# Where `kernelearn train --record` puts it inside of its own folder.
INNER_FOLDER = "record"
_KEYS = {"run", "generation", "about", "segments"}
_TRAINED = {"kind": str, "attrs": dict}
_SHAPE = {
    "run": str,
    "generation": int,
    "about": {
        "model?": (dict, None),
        "metadata?": (dict, None),
        "weights?": (Every([int]), None),
        "class_names?": ([str], None),
        "engine?": (str, None),
        "policy?": (str, None),
    },
    "segments": [
        {
            "start?": int,
            "offset?": int,
            "layers?": Every([str]),
            "full_layers?": [str],
            "metrics?": [str],
            "optimizer?": dict,
            "updates?": Every(
                {**_TRAINED, "slots?": [str], "constraint?": (dict, None), "overwriting?": dict}
            ),
            "uses?": Every(
                {
                    "kernel_shape": [int],
                    "bias?": (str, None),
                    "parts": [{**_TRAINED, "x": str, "delta": str, "gradient?": (str, None)}],
                }
            ),
            "streams": Every({"file": str}),
        }
    ],
}

Content = dict[str, Any]


def run_folder(path: Any) -> Path:
    """The folder with the manifest: `path` itself, or `record` in the folder of a training.

    Raises: ArgumentError if there is no such folder, FormatError if it holds no manifest.
    """
    folder = Path(path)
    for candidate in (folder, folder / INNER_FOLDER):
        if (candidate / MANIFEST).is_file():
            return candidate
    if not folder.is_dir():
        raise ArgumentError(f"There is no folder {str(folder)!r}; give the folder of a recorded run.")
    raise FormatError(
        f"{str(folder)!r} is not a recorded run: it has no {MANIFEST}. Record one with "
        "kernelearn.recording.Recorder or kernelearn train --record."
    )


def is_run_folder(folder: Path) -> bool:
    """Whether a folder has a manifest that says it is a recorded run."""
    try:
        values = parse_json(read_plain(folder / MANIFEST), MANIFEST)
    except (OSError, DataError):
        return False
    return isinstance(values, dict) and values.get("format") == FORMAT


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the manifest, whole or not at all.

    Raises: ArgumentError for content that JSON cannot hold, StorageError if it cannot be written.
    """
    try:
        values = json.loads(json.dumps(dict(content), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"The run cannot be described as JSON: {error}.") from error
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "library_version": __version__}
    text = json.dumps({**head, "checksum": _checksum(values), **values}, indent=1)
    with atomic_write(folder / MANIFEST) as file:
        file.write(text.encode() + b"\n")


def read_manifest(folder: Path) -> Content:
    """The content of a manifest.

    Raises: FormatError if it is missing, damaged, foreign or from a newer version.
    """
    path = folder / MANIFEST
    try:
        values = parse_json(read_plain(path, FormatError), repr(str(path)), FormatError)
    except FileNotFoundError:
        raise FormatError(f"{str(folder)!r} is not a recorded run: it has no {MANIFEST}.") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise FormatError(f"{str(folder)!r} is not a recorded run: its {MANIFEST} does not say so.")
    _check_version(values, path)
    content = {key: values[key] for key in _KEYS if key in values}
    if set(content) != _KEYS or values.get("checksum") != _checksum(content):
        raise FormatError(f"{str(path)!r} is damaged: its checksum differs from what was written.")
    check_json(content, _SHAPE, repr(str(path)), FormatError)
    return content


def _check_version(values: Mapping[str, Any], path: Path) -> None:
    version = values.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise FormatError(f"{str(path)!r} is damaged: format_version is {version!r}.")
    if version > FORMAT_VERSION:
        raise FormatError(
            f"{str(path)!r} was written by kernelearn {values.get('library_version')} in format {version}; "
            f"this is kernelearn {__version__}, which reads formats up to {FORMAT_VERSION}. "
            "Install a newer version: pip install -U kernelearn"
        )


def _checksum(values: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())
