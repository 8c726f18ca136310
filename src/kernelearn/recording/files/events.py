"""What happened in a run besides its steps: fits that began and ended, epochs, what was thinned and why.

One line an event in `events.jsonl`: a checksum, a space, JSON. Lines are only added, each with one write.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
import zlib
from pathlib import Path
from typing import Any, cast

from kernelearn.errors import FormatError
from kernelearn.formats.foreign import parse_json, read_plain
from kernelearn.formats.json_shape import Every, check_json

Event = dict[str, Any]
# The run went back to an earlier step: events of later steps no longer count.
REWOUND = "rewound"
_BLOCK = 4096
_SHAPE = {"kind": str, "step": int, "time?": float, "logs?": Every((float, None))}


def add_event(path: Path, kind: str, step: int, **about: Any) -> Event:
    """Append an event and give it back.

    Args:
        kind: for example "epoch".
        step: number of updates done when it happened.
        about: JSON values; numbers that are not finite become null.
    Raises: OSError if it cannot be written; nothing half-written stays.
    """
    event = {"kind": kind, "step": int(step), "time": time.time(), **_plain(about)}
    text = json.dumps(event, allow_nan=False).encode()
    line = f"{zlib.crc32(text):08x} ".encode() + text + b"\n"
    file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        end = _end_of_last_line(file)
        try:
            os.ftruncate(file, end)  # what a killed process left of its last event
            os.lseek(file, end, os.SEEK_SET)
            if os.write(file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(file, end)
            raise
    finally:
        os.close(file)
    return event


def event_bytes(event: Event) -> int:
    """What an event takes in the file."""
    return len(json.dumps(event)) + len("00000000 \n")


def read_events(path: Path) -> tuple[list[Event], int]:
    """(all whole events that still count, in order; number of lines that are damaged).

    A last line without its end is being written, or was when its process was killed: it counts as neither.
    """
    if not path.exists():
        return [], 0
    *lines, _ = read_plain(path, FormatError).split(b"\n")
    events = [_event(line) for line in lines if line]
    whole: list[Event] = []
    for event in events:
        if event is not None and event["kind"] == REWOUND:
            whole = [e for e in whole if e["step"] <= event["step"]]
        elif event is not None:
            whole.append(event)
    return whole, sum(event is None for event in events)


def _event(line: bytes) -> Event | None:
    checksum, _, text = line.partition(b" ")
    if checksum != f"{zlib.crc32(text):08x}".encode():
        return None
    try:
        event = parse_json(text, "a line of events", FormatError)
        check_json(event, _SHAPE, "a line of events", FormatError)
    except FormatError:
        return None
    return cast(Event, event)


def _end_of_last_line(file: int) -> int:
    """Where the last whole line of a file ends."""
    size = os.fstat(file).st_size
    while size:
        start = max(0, size - _BLOCK)
        os.lseek(file, start, os.SEEK_SET)
        found = os.read(file, size - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        size = start
    return 0


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
