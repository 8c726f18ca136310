"""HDF5 files from unknown hands: what is read, and every way out of the file that is refused."""

import io

import h5py
import numpy as np
import pytest

from kernelearn.errors import FormatError
from kernelearn.formats import hdf5


def opened(write, **options):
    """The arrays and attributes of a file that `write` fills."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        write(file)
    return read(buffer.getvalue())


def read(content, **options):
    with hdf5.reading(io.BytesIO(content), "'f.h5'", **options) as tree:
        arrays = {path: part.read() for path, part in tree.walk() if isinstance(part, hdf5.Array)}
        return arrays, tree


def test_what_is_written_comes_back():
    numbers = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.float32(3),
        "c": np.zeros((0, 2), "int64"),
        "d": np.array([True]),
    }
    inner = hdf5.Group({name: hdf5.held(np.asarray(array)) for name, array in numbers.items()}, {"name": "x"})
    buffer = io.BytesIO()
    hdf5.write(buffer, hdf5.Group({"inner": inner}, {"names": ["one", "two"], "text": "t" * 70000}))
    arrays, tree = read(buffer.getvalue())
    for name, array in numbers.items():
        assert arrays[f"inner/{name}"].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(arrays[f"inner/{name}"], array)
    assert tree.attributes == {"names": ["one", "two"], "text": "t" * 70000}
    assert tree.group("inner").attributes == {"name": "x"}


def test_long_lists_of_names_are_split_as_keras_does():
    names = [f"layer_{i:050}" for i in range(2000)]
    buffer = io.BytesIO()
    hdf5.write(buffer, hdf5.Group(attributes={"layer_names": names}))
    assert hdf5.names_of(read(buffer.getvalue())[1].attributes, "layer_names") == names


def test_gzip_shuffle_and_other_byte_orders_are_read():
    numbers = np.arange(4000, dtype=">f4").reshape(40, 100)
    arrays, _ = opened(
        lambda f: f.create_dataset("a", data=numbers, chunks=(10, 50), compression="gzip", shuffle=True)
    )
    np.testing.assert_array_equal(arrays["a"], numbers)
    assert arrays["a"].dtype == np.dtype("float32")


def soft(file):
    file["a"] = h5py.SoftLink("/elsewhere")


def external(file):
    file["a"] = h5py.ExternalLink("other.h5", "/a")


def virtual(file):
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "a", shape=(4,))
    file.create_virtual_dataset("a", layout)


def elsewhere(file):
    file.create_dataset("a", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def foreign_filter(file):
    file.create_dataset("a", data=np.zeros(100), compression="lzf")


def checksum(file):
    file.create_dataset("a", data=np.zeros(100), fletcher32=True)


def nothing_stored(file):
    file.create_dataset("a", (1 << 40,), "f4")


def few_pieces_stored(file):
    file.create_dataset("a", (1 << 40,), "f4", chunks=(1024,), compression="gzip")[:1024] = 1


def huge_piece(file):
    file.create_dataset("a", (10,), "f4", maxshape=(None,), chunks=(1 << 28,), compression="gzip")


def texts(file):
    file.create_dataset("a", data=[b"x", b"y"])


def records(file):
    file.create_dataset("a", data=np.zeros(2, [("x", "f4"), ("y", "f4")]))


def references(file):
    file.create_dataset("a", data=[file.ref], dtype=h5py.ref_dtype)


def circle(file):
    file.create_group("a")
    file["a/again"] = file["a"]


def deep(file):
    file.create_group("/".join(["a"] * 100))


def doubled(file):
    group = file.create_group("g0")
    for _ in range(60):
        inner = group.create_group("x")
        group["y"] = inner
        group = inner


def type_object(file):
    file["a"] = np.dtype("f4")


def no_text(file):
    file.attrs.create("a", np.array(b"\xff\xfe"))


def empty(file):
    file["a"] = h5py.Empty("f4")


HOSTILE = [soft, external, virtual, elsewhere, foreign_filter, checksum, nothing_stored, few_pieces_stored]
HOSTILE += [huge_piece, texts, records, references, circle, deep, doubled, type_object, no_text, empty]


@pytest.mark.parametrize("write", HOSTILE, ids=lambda f: f.__name__)
def test_hostile_files_are_refused(write):
    with pytest.raises(FormatError, match=r"'f\.h5'"):
        opened(write)


def test_more_than_the_limit_is_refused_before_it_is_read():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["a"] = np.zeros(1000)
    with pytest.raises(FormatError, match=r"more than 4\.0 kB"):
        read(buffer.getvalue(), max_bytes=4000)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(cut):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["a/b"] = np.arange(5000.0)
    content = buffer.getvalue()
    with pytest.raises(FormatError):
        read(content[: int(len(content) * cut)])


@pytest.mark.parametrize("size", [0, 8])
def test_a_heap_whose_objects_claim_nothing_is_refused(size):
    """The library would step on the spot for ever."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["a"] = "text"
    content = bytearray(buffer.getvalue())
    assert read(bytes(content))[1].attributes == {"a": "text"}
    free = content.index(b"GCOL") + 16 + 16 + 8  # behind the header, and the text with its own
    assert content[free : free + 2] == b"\0\0"
    content[free + 8 : free + 16] = size.to_bytes(8, "little")
    with pytest.raises(FormatError, match="heap of texts"):
        read(bytes(content))


def test_many_heaps_at_one_place_are_refused_at_once():
    content = b"\x89HDF\r\n\x1a\n" + b"\0" * 6 + b"\x08" + b"\0"
    with pytest.raises(FormatError, match="heap of texts"):
        read(content + (b"GCOL\1\0\0\0" + (1 << 20).to_bytes(8, "little")) * 20_000)
