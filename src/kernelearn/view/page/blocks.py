"""Answers as bytes: JSON, and blocks of numbers behind a JSON header; see docs/page-api.md."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

JSON_TYPE = "application/json"
BLOCKS_TYPE = "application/vnd.kernelearn.blocks"
_ALIGNED = 8
# Type of numbers that a page can read -> what is written.
_WRITTEN = {"f2": "float32", "f4": "float32", "f8": "float64", "u1": "uint8", "b1": "uint8"}


@dataclass(frozen=True)
class Answer:
    """What goes back to the page.

    Attributes:
        body: bytes; kind: their media type; status: as in HTTP.
    """

    body: bytes
    kind: str = JSON_TYPE
    status: int = 200


@dataclass
class Blocks:
    """Numbers by name, and what is said of them.

    Attributes:
        arrays: name -> array.
        header: more JSON values.
        missing: name -> what is said of numbers that are not recorded, see `absent`.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, dict[str, Any]] = field(default_factory=dict)


def json_answer(value: Any, status: int = 200) -> Answer:
    """A value as JSON; numbers that are not finite become null."""
    text = json.dumps(plain(value), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return Answer(text.encode(), JSON_TYPE, status)


def blocks_answer(blocks: Blocks) -> Answer:
    """Blocks as bytes."""
    about: dict[str, Any] = {}
    parts: list[bytes] = []
    offset = 0
    for name, array in blocks.arrays.items():
        data, dtype = _written(array)
        about[name] = {"shape": list(array.shape), "dtype": dtype, "offset": offset}
        filled = data + bytes(-len(data) % _ALIGNED)
        parts.append(filled)
        offset += len(filled)
    header = json.dumps(
        plain({**blocks.header, "missing": blocks.missing, "blocks": about}), ensure_ascii=False
    ).encode()
    header += b" " * (-(len(header) + 4) % _ALIGNED)
    return Answer(b"".join([len(header).to_bytes(4, "little"), header, *parts]), BLOCKS_TYPE)


def read_blocks(body: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(header, arrays) of a binary answer: what a page does, for tests and for programs in Python."""
    size = int.from_bytes(body[:4], "little")
    header = json.loads(body[4 : 4 + size])
    found = {}
    for name, about in header["blocks"].items():
        dtype = np.dtype(about["dtype"]).newbyteorder("<")
        count = math.prod(about["shape"])
        start = 4 + size + about["offset"]
        found[name] = np.frombuffer(body, dtype, count, start).reshape(about["shape"])
    return header, found


def _written(array: np.ndarray) -> tuple[bytes, str]:
    found = np.asarray(array)
    code = f"{found.dtype.kind}{found.dtype.itemsize}"
    dtype = _WRITTEN.get(code, "int32")
    return np.ascontiguousarray(found, np.dtype(dtype).newbyteorder("<")).tobytes(), dtype


def plain(value: Any) -> Any:
    """A value as JSON takes it: NumPy's numbers and arrays as Python's, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def absent(why: str, steps: Any = (), step: int | None = None) -> dict[str, Any]:
    """What is said of something that is not recorded at a step.

    Args:
        why: in words.
        steps: those that have it, in order.
        step: that was asked for.

    >>> absent("Ledgers are recorded every 61 steps.", [1, 61, 122], 70)["nearest"]
    61
    """
    known = np.asarray(steps, np.int64)
    if not len(known) or step is None:
        return {"why": why, "nearest": None, "before": None, "after": None}
    before, after = known[known < step], known[known > step]
    return {
        "why": why,
        "nearest": int(known[np.abs(known - step).argmin()]),
        "before": int(before[-1]) if len(before) else None,
        "after": int(after[0]) if len(after) else None,
    }


def as_ranges(steps: Any) -> list[list[int]]:
    """Ascending steps as [first, last, stride].

    >>> as_ranges([0, 1, 2, 3, 10, 20, 30])
    [[0, 3, 1], [10, 30, 10]]
    """
    known = [int(step) for step in steps]
    found: list[list[int]] = []
    place = 0
    while place < len(known):
        end = place + 1
        stride = known[end] - known[place] if end < len(known) else 1
        while end + 1 < len(known) and known[end + 1] - known[end] == stride:
            end += 1
        end = min(end, len(known) - 1)
        if end == place + 1 and end + 1 < len(known):  # two steps are no rhythm: the next may have one
            found.append([known[place], known[place], 1])
            place += 1
            continue
        found.append([known[place], known[end], stride])
        place = end + 1
    return found
