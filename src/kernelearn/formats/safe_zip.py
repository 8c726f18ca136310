"""Zips from unknown hands, read without trusting them: names, sizes and checksums are checked first.

Nothing is ever unpacked to the disk. Used by the formats that are zips.
"""

import os
import zipfile
from typing import BinaryIO

from kernelearn.errors import FormatError
from kernelearn.formats.foreign import refused
from kernelearn.storage import PathLike, readable_size

_MAX_MEMBERS = 100_000
_MOST_DEFLATED = 1040  # times that deflate makes at best of its input, with some room
COPY = "Nothing was loaded; use another copy of the file."


class SafeZip:
    """The members of a zip whose content is stored, not compressed.

    Args:
        file: open for reading.
        path: its name, for messages.
        max_bytes: largest total size of the content, in bytes.
        may_be_deflated: also take members that are deflated, to sizes that deflating can reach.
    Raises: FormatError.
    """

    def __init__(self, file: BinaryIO, path: PathLike, max_bytes: int, may_be_deflated: bool = False) -> None:
        self._path = os.fspath(path)
        with refused(repr(self._path), FormatError, COPY):
            self._archive = zipfile.ZipFile(file)
        entries = self._archive.infolist()
        self._check_names([entry.filename for entry in entries])
        if not may_be_deflated:
            self._check_stored(entries)
        most = sum(self._most_bytes(entry) for entry in entries)
        self._check_size(sum(e.file_size for e in entries), most, file, max_bytes)
        self._entries = {entry.filename: entry for entry in entries}

    def names(self) -> set[str]:
        """The names of all members."""
        return set(self._entries)

    def read(self, name: str) -> bytes:
        """The content of a member, its checksum verified.

        Raises: FormatError if it is damaged.
        """
        entry = self._entries[name]
        with refused(f"{self._path!r}: {name}", FormatError, COPY):
            content = self._archive.read(entry)
        if len(content) != entry.file_size:
            raise damaged(self._path, f"{name} is cut off")
        return content

    def _check_names(self, names: list[str]) -> None:
        if len(names) > _MAX_MEMBERS:
            raise damaged(self._path, f"it has {len(names)} members, more than any network needs")
        for name in names:
            if name.startswith("/") or "\\" in name or ".." in name.split("/"):
                raise FormatError(f"{self._path!r} is unsafe: its member {name!r} points outside.")
        if len(set(names)) != len(names):
            raise damaged(self._path, "a member occurs twice")

    def _check_stored(self, entries: list[zipfile.ZipInfo]) -> None:
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                raise FormatError(
                    f"{self._path!r} has the compressed member {entry.filename!r}, expected "
                    "uncompressed ones. If you packed it yourself, pack it without compression (zip -0)."
                )

    def _most_bytes(self, entry: zipfile.ZipInfo) -> int:
        """How much can be in a member with so many bytes in the file.

        Raises: FormatError for a method of packing that is not taken.
        """
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
            raise FormatError(
                f"{self._path!r} has the member {entry.filename!r}, which is encrypted or packed by a method "
                "other than deflate. Pack it again (zip -0)."
            )
        is_stored = entry.compress_type == zipfile.ZIP_STORED
        most = entry.compress_size if is_stored else entry.compress_size * _MOST_DEFLATED
        if entry.file_size > most:
            raise damaged(self._path, f"{entry.filename!r} claims more than is there")
        return most

    def _check_size(self, total: int, most: int, file: BinaryIO, max_bytes: int) -> None:
        file_bytes = os.fstat(file.fileno()).st_size
        if total > most or sum(e.compress_size for e in self._archive.infolist()) > file_bytes:
            claim = f"its members claim {readable_size(total)}, the file has {readable_size(file_bytes)}"
            raise damaged(self._path, claim)
        if total > max_bytes:
            raise FormatError(
                f"{self._path!r} holds {readable_size(total)}, more than the limit of "
                f"{readable_size(max_bytes)}. Pass a larger max_bytes if you trust it."
            )


def damaged(path: PathLike, detail: str) -> FormatError:
    """The error for a file that is not what was once written."""
    return FormatError(f"{os.fspath(path)!r} is damaged or incomplete: {detail}. {COPY}")
