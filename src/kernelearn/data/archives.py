"""Zip, tar and gzip files read without trusting them: nothing is ever written to disk.

Names that point outside, members that expand beyond a limit or beyond belief, encrypted and damaged files are
refused with a message. Sizes are judged before memory is taken for them, and every checksum is compared.
"""

import gzip
import io
import os
import stat
import tarfile
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NoReturn, Self

import numpy as np

from kernelearn.errors import DataError
from kernelearn.formats.foreign import Reader, is_utf8, open_plain, printable, read_claimed, refused

MAX_RATIO = 200  # expanded over packed size; deflate's best is 1032, photographs stay near 1
_RATIO_COUNTS_FROM = 1 << 20  # bytes: a small file of one colour may well pack that tightly
_GZIP_START = b"\x1f\x8b"
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAX_TAR_MEMBERS = 10_000
_MAX_TAR_EXTRAS = 1 << 20  # bytes of long names and extended headers in one tar, which tarfile reads whole
_PIECE = 1 << 20


def open_zip(path: Path, max_bytes: int) -> zipfile.ZipFile:
    """Open a zip whose every member has been checked; reading members is safe from several threads.

    Raises: DataError for damage, encryption, rare compression methods, links, names that leave the folder, or
        more than `max_bytes` when unpacked.
    """
    file = open_plain(path)
    try:
        with refused(
            str(path), remedy=f"A {path.suffix} is a zip file; it may be truncated: fetch it again."
        ):
            archive = _Zip(file)
        archive.filename = str(path)
        _check_zip(archive, path, max_bytes)
        _compare_headers(archive, path)
    except BaseException:
        file.close()
        raise
    return archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Bytes of one member, its checksum compared. Raises: DataError naming it if it is damaged."""
    with refused(f"{name} in {archive.filename}", remedy="Fetch the zip again."):
        size = archive.getinfo(name).file_size
        # NOTE: piece by piece, or zipfile takes what a member claims for what it is. It verifies the checksum
        # where the claimed size ends, which a member cannot go beyond.
        with archive.open(name) as file:
            content = read_claimed(file, size)
        if len(content) != size:
            raise EOFError(f"{len(content):,} of {size:,} bytes")
    return content


def check_member_name(name: str, where: str) -> None:
    """Refuse member names that would land outside the folder they are unpacked to. Raises: DataError."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    has_drive = len(name) > 1 and name[1] == ":"
    if ".." in parts or name.startswith(("/", "\\")) or has_drive or "\0" in name or not parts:
        raise DataError(
            f"{where} has a member named {name!r}, which would unpack outside its folder. Such a file is "
            "broken or hostile: do not use it."
        )
    if not is_utf8(name):
        raise DataError(f"{where} has a member named {printable(name)}, which is not UTF-8. Rename it.")


@contextmanager
def unpacked(path: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """A file to be read forwards, unpacked if it is gzipped (told by its first bytes).

    Raises: DataError, also inside the block, for damage, more than `max_bytes` unpacked, or more than
        `MAX_RATIO` times the packed size.
    """
    with open_plain(path) as file, refused(str(path)):
        is_packed = file.read(2) == _GZIP_START
        file.seek(0)
        yield _Unpacked(file, path, max_bytes) if is_packed else file  # type: ignore[misc]


def size_limit(file: IO[bytes], position: int) -> int:
    """The most bytes that can follow `position` of a file from `unpacked`, told without reading on."""
    return file.size_limit() if isinstance(file, _Unpacked) else os.fstat(file.fileno()).st_size - position


def read_values(file: Reader, count: int) -> np.ndarray:
    """Up to `count` bytes as one uint8 array, with no second copy; `count` is to be a plausible number."""
    values = np.empty(count, np.uint8)
    filled = 0
    while filled < count and (piece := file.read(min(_PIECE, count - filled))):
        values[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    return values[:filled]


def tar_files(path: Path, max_bytes: int) -> Iterator[tuple[str, int, IO[bytes]]]:
    """(name, size, content ready to read) of each plain file of a tar, gzipped or not.

    Raises: DataError for damage, a name that leaves the folder, sparse files, more than `max_bytes` in all or
        `MAX_RATIO` times the packed size, or headers beyond belief.
    """
    with unpacked(path, max_bytes) as file:
        whole = size_limit(file, 0)
        with _Tar.open(str(path), "r:", fileobj=file) as archive:
            for count, member in enumerate(archive):
                check_member_name(member.name, str(path))
                end = member.offset_data + member.size
                _check_total(end, path, max_bytes)
                if end > whole:
                    raise EOFError(f"{member.name} claims {member.size:,} bytes")
                if count >= _MAX_TAR_MEMBERS:
                    raise DataError(f"{path} has more than {_MAX_TAR_MEMBERS:,} members. Unpack it.")
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield member.name, member.size, content
        while file.read(_PIECE):  # the checksum of the gzip stands at its end
            pass


class _Zip(zipfile.ZipFile):
    """A zip that closes the file it was given, at the latest when nobody needs it any more."""

    def __init__(self, file: BinaryIO) -> None:
        # NOTE: not `__del__`, which comes too late where both go away in one circle of objects.
        self._end = weakref.finalize(self, file.close)
        super().__init__(file)

    def close(self) -> None:
        super().close()
        self._end()


class _Unpacked(io.RawIOBase):
    """The content of a gzip, which ends in a DataError where there is more than was promised."""

    def __init__(self, file: BinaryIO, path: Path, max_bytes: int) -> None:
        self._gzip, self._path, self._position = gzip.GzipFile(fileobj=file), path, 0
        self._max_bytes, self._packed = max_bytes, os.fstat(file.fileno()).st_size

    def size_limit(self) -> int:
        return min(self._max_bytes, max(_RATIO_COUNTS_FROM, self._packed * MAX_RATIO))

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        content = self._gzip.read(min(size, _PIECE) if size >= 0 else _PIECE)
        self._position += len(content)
        _check_total(self._position, self._path, self._max_bytes)
        _check_ratio(self._position, self._packed, str(self._path))
        return content

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = os.SEEK_SET, /) -> int:
        """Forwards only, which is all that tarfile needs."""
        if whence != os.SEEK_SET or position < self._position:
            raise io.UnsupportedOperation("a packed file is read forwards only")
        while self._position < position and self.read(position - self._position):
            pass
        return self._position


class _DamagedHeader(Exception):
    """Of a tar; no error of tarfile's own, which takes these for the end of the file."""


class _TarInfo(tarfile.TarInfo):
    """A header of a tar that does not have tarfile read a long name of a gigabyte, or a sparse file's map."""

    _EXTRAS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
               tarfile.SOLARIS_XHDTYPE)  # fmt: skip

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # two blocks of zeros: the end as it should be
            raise
        except tarfile.HeaderError as error:
            # NOTE: tarfile takes a header with a wrong checksum for the end, and leaves out what follows.
            raise _DamagedHeader(str(error)) from error

    def _proc_member(self, archive: "_Tar") -> tarfile.TarInfo:
        if self.type in self._EXTRAS:
            archive.extras += self.size
            if not 0 <= self.size <= _MAX_TAR_EXTRAS or archive.extras > _MAX_TAR_EXTRAS:
                raise DataError(
                    f"{archive.name!r} has names or extended headers of more than {_MAX_TAR_EXTRAS:,} bytes: "
                    "it is broken or hostile. Do not use it."
                )
        try:
            return super()._proc_member(archive)  # type: ignore[misc, no-any-return]
        except tarfile.HeaderError as error:
            raise _DamagedHeader(str(error)) from error

    def _refuse_sparse(self, *_: object) -> NoReturn:
        raise DataError("A tar with sparse files is not read. Unpack it and give the folder.")

    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


class _Tar(tarfile.TarFile):
    tarinfo = _TarInfo
    extras = 0


def _check_zip(archive: zipfile.ZipFile, path: Path, max_bytes: int) -> None:
    for member in archive.infolist():
        check_member_name(member.filename, str(path))
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(
                f"{path} has a link, {member.filename}; only plain files are read. Pack the file itself."
            )
        if member.flag_bits & 1:
            raise DataError(f"{path} is encrypted ({member.filename}). Unpack it with its password first.")
        if member.compress_type not in _ZIP_METHODS:
            raise DataError(
                f"{member.filename} in {path} is packed by method {member.compress_type}; only stored and "
                "deflated members are read. Pack it again with a usual zip program."
            )
        _check_ratio(member.file_size, member.compress_size, f"{member.filename} in {path}")
    _check_total(sum(member.file_size for member in archive.infolist()), path, max_bytes)


def _compare_headers(archive: zipfile.ZipFile, path: Path) -> None:
    """Have zipfile compare the names in the directory, which has no checksum, with those before the members.

    A member under another name would not be missed: it would only not be found.
    """
    for member in archive.infolist():
        with refused(f"{member.filename} in {path}"):
            archive.open(member).close()


def _check_ratio(size: int, packed: int, what: str) -> None:
    ratio = size / max(1, packed)
    if size > _RATIO_COUNTS_FROM and ratio > MAX_RATIO:
        raise DataError(
            f"{what} would unpack to more than {MAX_RATIO} times its packed size: this looks like a "
            "zip bomb. If you trust it, unpack it yourself and give what comes out."
        )


def _check_total(total: int, path: Path, max_bytes: int) -> None:
    if total > max_bytes:
        raise DataError(
            f"{path} would unpack to {total:,} bytes or more, above the limit max_bytes={max_bytes:,}. Give "
            "a larger max_bytes= if you trust the file."
        )
