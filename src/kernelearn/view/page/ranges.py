"""Files of a record by HTTP range: one range at a time, bounded, of the files that the manifest names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kernelearn.recording.files.manifest import MANIFEST
from kernelearn.recording.files.writer import EVENTS
from kernelearn.view.page.asking import Refused
from kernelearn.view.page.library import PageRun

MOST_BYTES = 16 * 2**20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Piece:
    """Bytes of a file, from `first` on; `whole` is the size of the file."""

    path: Path
    first: int
    size: int
    whole: int
    status: int

    def headers(self) -> dict[str, str]:
        """Of the answer."""
        found = {"accept-ranges": "bytes", "content-length": str(self.size)}
        if self.status == 206:
            found["content-range"] = f"bytes {self.first}-{self.first + self.size - 1}/{self.whole}"
        return found


def piece_of(page_run: PageRun, name: str, wanted: str | None) -> Piece:
    """The piece of a file that a Range header asks for; without one all of it, if that is not too much.

    Raises: Refused.
    """
    path = _path(page_run, name)
    try:
        whole = path.stat().st_size
    except OSError as error:
        raise Refused(f"{name!r} cannot be read now: {error.strerror}.", 409, "not now") from error
    if wanted is None:
        if whole > MOST_BYTES:
            raise Refused(
                f"{name!r} has {whole:,} bytes: ask for at most {MOST_BYTES:,} at a time, Range: bytes=0-.",
                413,
                "too large",
            )
        return Piece(path, 0, whole, whole, 200)
    first, size = _bounds(wanted, whole)
    return Piece(path, first, size, whole, 206)


def _path(page_run: PageRun, name: str) -> Path:
    run = page_run.open()
    files = {str(s["file"]) for about in run.manifest["segments"] for s in about["streams"].values()}
    if name not in files | {MANIFEST, EVENTS}:
        raise Refused(f"The record has no file {name!r}; it has {', '.join(sorted(files))}.", 404, "unknown")
    return run.folder / name


def _bounds(wanted: str, whole: int) -> tuple[int, int]:
    """(first byte, number of bytes) of a Range header, cut to what there is and to `MOST_BYTES`."""
    match = _RANGE.fullmatch(wanted.strip()) if len(wanted) < 100 else None
    if match is None or match.groups() == ("", ""):
        raise Refused("Ask for one range, such as bytes=0-1023.", 416, "range")
    begin, end = match.groups()
    first = int(begin) if begin else max(whole - int(end), 0)
    last = min(int(end), whole - 1) if begin and end else whole - 1
    if first > last:
        raise Refused(f"The file has {whole:,} bytes; there is nothing at {wanted!r}.", 416, "range")
    return first, min(last - first + 1, MOST_BYTES)
