"""Zip, tar and gzip files read without trusting them: nothing is ever written to disk.

Names that point outside, members that expand beyond a limit or beyond belief, encrypted and damaged files are
refused with a message, before their content is touched.
"""

import contextlib
import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from kernelearn.errors import DataError

MAX_RATIO = 200  # expanded over packed size; deflate's best is 1032, photographs stay near 1
_RATIO_COUNTS_FROM = 1 << 20  # bytes: a small file of one colour may well pack that tightly
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError)


def open_zip(path: Path, max_bytes: int) -> zipfile.ZipFile:
    """Open a zip whose every member has been checked; reading members is safe from several threads.

    Raises: DataError for damage, encryption, links, names that leave the folder, or more than `max_bytes`
        when unpacked.
    """
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise DataError(
            f"{path} is no readable zip file: {error}. It may be truncated; fetch it again."
        ) from error
    try:
        _check_zip(archive, path, max_bytes)
    except DataError:
        archive.close()
        raise
    return archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Bytes of one member. Raises: DataError naming it if it is damaged."""
    try:
        # NOTE: zipfile stops at the size declared in the directory (checked on opening) and verifies the
        # checksum, so a member cannot expand beyond what it admitted to.
        return archive.read(name)
    except _DAMAGE as error:
        raise DataError(
            f"{name} in {archive.filename} is damaged or truncated: {error}. Fetch the zip again."
        ) from error


def check_member_name(name: str, where: str) -> None:
    """Refuse member names that would land outside the folder they are unpacked to. Raises: DataError."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    has_drive = len(name) > 1 and name[1] == ":"
    if ".." in parts or name.startswith(("/", "\\")) or has_drive or "\0" in name:
        raise DataError(
            f"{where} has a member named {name!r}, which would unpack outside its folder. Such a file is "
            "broken or hostile: do not use it."
        )


def read_gzip(path: Path, limit: int) -> bytes:
    """At most `limit` bytes of a file, unpacked if its name ends in .gz. Raises: DataError if damaged."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            return file.read(limit)
    except (*_DAMAGE, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged or truncated: {error}. Fetch it again.") from error


@contextlib.contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """A (gzipped) tar to be read forwards. Raises: DataError if it is damaged."""
    try:
        with tarfile.open(path, "r:*") as archive:
            yield archive
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged or truncated: {error}. Fetch it again.") from error


def tar_files(
    archive: tarfile.TarFile, path: Path, max_bytes: int
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """The regular files of a tar with checked names and a bounded total size, each ready to read.

    Raises: DataError for a name that leaves the folder or more than `max_bytes` in all.
    """
    total = 0
    for member in archive:
        check_member_name(member.name, str(path))
        total += member.size
        _check_total(total, path, max_bytes)
        file = archive.extractfile(member) if member.isreg() else None
        if file is not None:
            yield member, file


def _check_zip(archive: zipfile.ZipFile, path: Path, max_bytes: int) -> None:
    for member in archive.infolist():
        check_member_name(member.filename, str(path))
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(
                f"{path} has a link, {member.filename}; only plain files are read. Pack the file itself."
            )
        if member.flag_bits & 1:
            raise DataError(f"{path} is encrypted ({member.filename}). Unpack it with its password first.")
        _check_ratio(member, path)
    _check_total(sum(member.file_size for member in archive.infolist()), path, max_bytes)


def _check_ratio(member: zipfile.ZipInfo, path: Path) -> None:
    ratio = member.file_size / max(1, member.compress_size)
    if member.file_size > _RATIO_COUNTS_FROM and ratio > MAX_RATIO:
        raise DataError(
            f"{member.filename} in {path} would unpack to {ratio:.0f} times its packed size, above the "
            f"limit of {MAX_RATIO}: this looks like a zip bomb. If you trust it, unpack it and give the "
            "folder."
        )


def _check_total(total: int, path: Path, max_bytes: int) -> None:
    if total > max_bytes:
        raise DataError(
            f"{path} would unpack to {total:,} bytes or more, above the limit max_bytes={max_bytes:,}. Give "
            "a larger max_bytes= if you trust the file."
        )
