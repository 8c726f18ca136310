"""HDF5 files from unknown hands, read through h5py into a plain tree; and written from one.

A file can point to other files (external links, external storage, virtual datasets), ask for filters that
load code, go round in circles, and claim any size. Everything is looked at before a number is read: links
must be hard ones, data must lie in the file itself, packed by gzip or not at all, and fit to the bytes that
are there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any, BinaryIO

import numpy as np

from kernelearn._optional import require
from kernelearn.errors import FormatError
from kernelearn.formats.foreign import refused
from kernelearn.formats.hdf5_heaps import damaged_heap
from kernelearn.formats.safe_zip import COPY
from kernelearn.storage import readable_size

DEFAULT_MAX_BYTES = 16 * 2**30
MAX_DEPTH = 64
MAX_OBJECTS = 200_000
MAX_NAMES = 100_000  # strings in one attribute
MAX_TEXT = 256 * 2**20  # bytes of one attribute
_GZIP, _SHUFFLE = 1, 2  # numbers of the filters that are taken
_MOST_PACKED = 1040  # times that gzip makes at best of its input, with some room
_KINDS = "fiub"


@dataclass
class Array:
    """A dataset that has been looked at; `read` takes its memory.

    Attributes:
        shape, dtype: as the file says.
        read: its numbers, in native byte order.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], np.ndarray] = field(repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes that `read` takes."""
        return prod(self.shape) * self.dtype.itemsize


@dataclass
class Group:
    """A group: what lies in it by name, and its attributes that are texts, numbers or lists of texts."""

    members: dict[str, Group | Array] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)

    def group(self, path: str) -> Group:
        """The group at a path; an empty one if there is none."""
        found: Group | Array | None = self
        for part in filter(None, path.split("/")):
            found = found.members.get(part) if isinstance(found, Group) else None
        return found if isinstance(found, Group) else Group()

    def array(self, path: str) -> Array | None:
        """The dataset at a path, or None."""
        folder, _, name = path.rpartition("/")
        found = self.group(folder).members.get(name)
        return found if isinstance(found, Array) else None

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Group | Array]]:
        """Path and object of all that lies in it, at any depth."""
        for name, member in self.members.items():
            yield f"{prefix}{name}", member
            if isinstance(member, Group):
                yield from member.walk(f"{prefix}{name}/")


@contextmanager
def reading(file: BinaryIO, what: str, max_bytes: int = DEFAULT_MAX_BYTES) -> Iterator[Group]:
    """The tree of an open file; its arrays can be read inside the block.

    Args:
        file: open for reading, anything with `read` and `seek`.
        what: the file, for messages.
        max_bytes: largest total size of all arrays.
    Raises: FormatError for a file that is damaged, points outside of itself or claims more than it can hold.
    """
    h5py = require("h5py", "reading HDF5 files")
    file.seek(0, 2)
    size = file.tell()
    damage = damaged_heap(file)
    if damage:
        raise FormatError(f"{what} cannot be read: {damage}. {COPY}")
    file.seek(0)
    with refused(what, FormatError, COPY):
        handle = h5py.File(file, "r")
    try:
        walker = _Walker(h5py, what, size, max_bytes)
        with refused(what, FormatError, COPY):
            tree = walker.group(h5py.h5g.open(handle.id, b"/"), "", 0)
        yield tree
    finally:
        with refused(what, FormatError, COPY):
            handle.close()


class _Walker:
    """Looks at every object of a file, by h5py's low-level functions, which follow no links by themselves."""

    def __init__(self, h5py: Any, what: str, file_bytes: int, max_bytes: int) -> None:
        self.h5py, self.what = h5py, what
        self.file_bytes, self.max_bytes = file_bytes, max_bytes
        self.objects = self.total = self.text = 0
        self.seen: dict[int, str] = {}  # where a group lies in the file -> the path that led there first

    def refuse(self, place: str, why: str) -> FormatError:
        return FormatError(f"{self.what}: {place or '/'} {why} {COPY}")

    def group(self, group: Any, place: str, depth: int) -> Group:
        if depth > MAX_DEPTH:
            raise self.refuse(place, f"lies more than {MAX_DEPTH} groups deep, deeper than any network.")
        # NOTE: a group with two names can hold one with two names, and so on: few bytes and endless paths.
        first = self.seen.setdefault(int(self.h5py.h5o.get_info(group).addr), place)
        if first != place:
            raise self.refuse(place, f"is the group {first or '/'} once more; each may have one name only.")
        self.count(group, place)
        members = {
            name: self.member(group, raw, f"{place}/{name}", depth)
            for raw, name in ((raw, self.name(raw, place)) for raw in list(group))
        }
        return Group(members, self.attributes(group, place))

    def count(self, group: Any, place: str) -> None:
        self.objects += int(group.get_num_objs())
        if self.objects > MAX_OBJECTS:
            raise self.refuse(place, f"brings the objects of the file to more than {MAX_OBJECTS}.")

    def name(self, raw: bytes, place: str) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.refuse(place, f"holds something whose name is no text, {raw!r}.") from None

    def member(self, group: Any, raw: bytes, place: str, depth: int) -> Group | Array:
        kind = group.links.get_info(raw).type
        if kind != self.h5py.h5l.TYPE_HARD:
            raise self.refuse(
                place, "is a link to another place or file; only what lies in the file is read."
            )
        found = self.h5py.h5o.open(group, raw)
        if isinstance(found, self.h5py.h5g.GroupID):
            return self.group(found, place, depth + 1)
        if isinstance(found, self.h5py.h5d.DatasetID):
            return self.dataset(found, place)
        raise self.refuse(place, "is neither a group nor an array.")

    # --- arrays

    def dataset(self, dataset: Any, place: str) -> Array:
        shape = dataset.shape
        if shape is None:
            raise self.refuse(place, "is an array without a shape.")
        dtype = self.type(dataset.get_type(), place)
        nbytes = prod(shape) * dtype.itemsize
        self.storage(dataset, nbytes, place)
        self.total += nbytes
        if self.total > self.max_bytes:
            raise self.refuse(
                place, f"brings the arrays of the file to more than {readable_size(self.max_bytes)}."
            )
        return Array(tuple(shape), dtype, lambda: self.read(dataset, shape, dtype, place))

    def type(self, kind: Any, place: str) -> np.dtype[Any]:
        h5t = self.h5py.h5t
        if not isinstance(kind, h5t.TypeIntegerID | h5t.TypeFloatID | h5t.TypeEnumID):
            raise self.refuse(place, "does not hold plain numbers.")
        dtype = np.dtype(kind.dtype)
        if dtype.kind not in _KINDS or dtype.itemsize > 8 or dtype.hasobject:
            raise self.refuse(place, f"holds numbers of type {dtype}, expected floats, integers or booleans.")
        native: np.dtype[Any] = dtype.newbyteorder("=")
        return native

    def storage(self, dataset: Any, nbytes: int, place: str) -> None:
        """Refuse data that lies elsewhere, foreign filters, and sizes that the stored bytes cannot hold."""
        plan, h5d = dataset.get_create_plist(), self.h5py.h5d
        layout = plan.get_layout()
        if layout not in (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED) or plan.get_external_count():
            raise self.refuse(place, "is put together from other arrays or files.")
        filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
        foreign = [number for number in filters if number not in (_GZIP, _SHUFFLE)]
        if foreign:
            raise self.refuse(
                place, f"is packed by the filter {foreign[0]}; only gzip and shuffle are taken."
            )
        stored = int(dataset.get_storage_size())
        most = stored * (_MOST_PACKED ** filters.count(_GZIP) if _GZIP in filters else 1)
        if filters.count(_GZIP) > 1 or stored > self.file_bytes or nbytes > most:
            raise self.refuse(
                place, f"claims {readable_size(nbytes)}, and {readable_size(stored)} are stored."
            )
        if layout == h5d.CHUNKED:
            piece = prod(plan.get_chunk()) * dataset.get_type().get_size()
            if piece > max(4 * nbytes, 1 << 20):
                raise self.refuse(place, f"lies in pieces of {readable_size(piece)}, larger than it is.")

    def read(self, dataset: Any, shape: tuple[int, ...], dtype: np.dtype[Any], place: str) -> np.ndarray:
        array = np.empty(shape, dtype)
        with refused(f"{self.what}: {place}", FormatError, COPY):
            dataset.read(self.h5py.h5s.ALL, self.h5py.h5s.ALL, array)
        return array

    # --- attributes

    def attributes(self, group: Any, place: str) -> dict[str, Any]:
        h5a = self.h5py.h5a
        number = int(h5a.get_num_attrs(group))
        self.objects += number
        if self.objects > MAX_OBJECTS:
            raise self.refuse(place, f"brings the objects of the file to more than {MAX_OBJECTS}.")
        found = {}
        for index in range(number):
            attribute = h5a.open(group, index=index)
            name = self.name(attribute.name, place)
            found[name] = self.attribute(attribute, f"{place}@{name}")
        return found

    def attribute(self, attribute: Any, place: str) -> Any:
        """A text, a number, or a list of them."""
        shape, kind = attribute.shape or (), attribute.get_type()
        count = prod(shape)
        if count > MAX_NAMES:
            raise self.refuse(place, f"is a list of {count} entries, more than any network needs.")
        if not isinstance(kind, self.h5py.h5t.TypeStringID):
            self.type(kind, place)
        elif not kind.is_variable_str() and count * kind.get_size() > self.file_bytes:
            raise self.refuse(place, "claims more text than the file has.")
        array = np.empty(shape, attribute.dtype)
        if array.size:
            attribute.read(array)
        values = [self.plain(value, place) for value in array.ravel().tolist()]
        return values if shape else values[0]

    def plain(self, value: Any, place: str) -> Any:
        if isinstance(value, bytes):
            self.text += len(value)
            if self.text > MAX_TEXT:
                raise self.refuse(
                    place, f"brings the texts of the file to more than {readable_size(MAX_TEXT)}."
                )
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise self.refuse(place, "is no text.") from None
        return value


# --- writing


def write(file: BinaryIO, tree: Group) -> None:
    """Write a tree of groups, arrays and attributes into an open file, as h5py does by default.

    A text becomes a text of variable length, a list of texts one of bytes as Keras writes it.
    """
    h5py = require("h5py", "writing HDF5 files")
    with h5py.File(file, "w") as handle:
        _write_group(handle, tree)


# Bytes that an attribute of a group can hold; longer lists are split as Keras splits them.
_ATTRIBUTE_LIMIT = 64512


def _write_group(handle: Any, group: Group) -> None:
    for name, value in group.attributes.items():
        _write_attribute(handle, name, value)
    for name, member in group.members.items():
        if isinstance(member, Group):
            _write_group(handle.create_group(name), member)
        else:
            handle.create_dataset(name, data=member.read())


def _write_attribute(handle: Any, name: str, value: Any) -> None:
    if not isinstance(value, list):
        handle.attrs[name] = value
        return
    array = np.asarray([text.encode() for text in value])
    parts = max(1, -(-array.nbytes // _ATTRIBUTE_LIMIT))
    if parts == 1:
        handle.attrs[name] = [text.encode() for text in value]
        return
    for number, part in enumerate(np.array_split(array, parts)):
        handle.attrs[f"{name}{number}"] = part


def names_of(attributes: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts, which a long one is split into: NAME, or NAME0, NAME1, ..."""
    if name in attributes:
        values = attributes[name]
        return [str(value) for value in values] if isinstance(values, list) else [str(values)]
    parts = itertools.takewhile(
        lambda part: part is not None, (attributes.get(f"{name}{number}") for number in itertools.count())
    )
    return [str(value) for part in parts for value in (part if isinstance(part, list) else [part])]


def held(array: np.ndarray) -> Array:
    """An array of memory as one of a tree, for `write`."""
    return Array(array.shape, array.dtype, lambda: array)
