"""The own file format: exact round trips, equal bytes for equal content, and damage that never passes."""

import io
import json
import random
import zipfile

import numpy as np
import pytest

from kernelearn.errors import ArgumentError, FormatError
from kernelearn.formats import native
from tests.sweeps import some

CONFIG = {
    "epoch": 3,
    "rate": 0.1 + 0.2,
    "name": "größe",
    "history": {"loss": [1.5, float("inf")]},
    "none": None,
}


def example_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "conv/kernel": rng.standard_normal((3, 3, 1, 2)).astype("float32"),
        "dense/bias": rng.standard_normal(5),
        "step": np.array(7, "int64"),
        "mask": np.array([True, False]),
        "empty": np.zeros((0, 4), "uint8"),
    }


def same(a: dict, b: dict) -> bool:
    return list(a) == list(b) and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes() for k in a
    )


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.kernelearn"
    native.write(path, CONFIG, example_arrays())
    return path


def rewrite(path, change, names=lambda names: names) -> None:
    """Write the zip again, with every member passed through `change(name, content)`; None leaves it out."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in names(archive.namelist())]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            changed = change(name, content)
            if changed is not None:
                archive.writestr(name, changed)


def change_header(path, **changes) -> None:
    def change(name, content):
        if name != "kernelearn.json":
            return content
        return json.dumps({**json.loads(content), **changes})

    rewrite(path, change)


def test_everything_comes_back_exactly_and_in_order(path):
    config, arrays = native.read(path)
    assert config == CONFIG
    assert same(arrays, example_arrays())
    assert native.read_config(path) == CONFIG


def test_arrays_come_back_writable_and_native(path):
    _, arrays = native.read(path)
    for array in arrays.values():
        assert array.flags.writeable
        assert array.dtype.isnative


def test_equal_content_gives_equal_bytes(tmp_path):
    paths = [tmp_path / "a.kernelearn", tmp_path / "other-name.kernelearn"]
    for path in paths:
        native.write(path, CONFIG, example_arrays())
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_layout_of_memory_does_not_matter(tmp_path):
    array = np.arange(12, dtype=">f4").reshape(3, 4)
    variants = [array, np.asfortranarray(array), array.astype("<f4"), array[::-1][::-1]]
    contents = set()
    for variant in variants:
        native.write(tmp_path / "a.kernelearn", {}, {"x": variant})
        contents.add((tmp_path / "a.kernelearn").read_bytes())
        np.testing.assert_array_equal(native.read(tmp_path / "a.kernelearn")[1]["x"], array)
    assert len(contents) == 1


def test_any_zip_tool_and_numpy_can_read_it(path):
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("kernelearn.json"))["format"] == "kernelearn"
        kernel = np.load(io.BytesIO(archive.read("arrays/conv/kernel.npy")))
    np.testing.assert_array_equal(kernel, example_arrays()["conv/kernel"])


def test_numpy_numbers_in_the_config_become_plain(tmp_path):
    path = tmp_path / "a.kernelearn"
    native.write(path, {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": (1, 2)}, {})
    assert native.read(path)[0] == {"a": 0.5, "b": 3, "c": True, "d": [1, 2]}


@pytest.mark.parametrize(
    ("config", "arrays", "message"),
    [
        ({1: "a"}, {}, "key 1 in config is not a string"),
        ({"a": [{"b": {2: 0}}]}, {}, r"key 2 in config\['a'\]\[0\]\['b'\]"),
        ({"a": np.ones(3)}, {}, "save arrays in `arrays`"),
        ({"a": object()}, {}, "is not JSON"),
        ({}, {"x": np.array([object()])}, "only arrays of numbers"),
        ({}, {"x": np.array(["text"])}, "only arrays of numbers"),
        ({}, {"x": np.zeros(2, [("a", "f4")])}, "only arrays of numbers"),
        ({}, {"../x": np.ones(1)}, "cannot be saved"),
        ({}, {"/x": np.ones(1)}, "cannot be saved"),
        ({}, {"a\\b": np.ones(1)}, "cannot be saved"),
        ({}, {"": np.ones(1)}, "cannot be saved"),
        ({}, {3: np.ones(1)}, "cannot be saved"),
    ],
)
def test_what_cannot_be_saved_is_refused_before_writing(tmp_path, config, arrays, message):
    with pytest.raises(ArgumentError, match=message):
        native.write(tmp_path / "a.kernelearn", config, arrays)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_not_a_format_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        native.read(tmp_path / "absent.kernelearn")


def read_or_refuse(path) -> bool:
    """Whether the file was refused; fails the test if it was read as anything but what was written."""
    try:
        config, arrays = native.read(path)
    except FormatError as error:
        assert path.name in str(error)
        return True
    assert config == CONFIG
    assert same(arrays, example_arrays())
    return False


@pytest.mark.parametrize("stride", some([3, 11], quick=[11]))
def test_truncation_never_gives_wrong_numbers(path, stride):
    whole = path.read_bytes()
    for length in range(0, len(whole), stride):
        path.write_bytes(whole[:length])
        assert read_or_refuse(path), f"a file cut at {length} of {len(whole)} bytes was accepted"


@pytest.mark.parametrize("count", some([300, 3000], quick=[300]))
def test_random_damage_never_gives_wrong_numbers(path, count):
    whole = path.read_bytes()
    rng = random.Random(1)
    refused = 0
    for _ in range(count):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 1, 1, 2, 8])):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        refused += read_or_refuse(path)
    assert refused > count * 2 / 3, (
        "most damage should be noticed: only times and attributes in the zip carry nothing"
    )


def test_every_byte_of_the_numbers_counts(path):
    whole = path.read_bytes()
    numbers = example_arrays()["conv/kernel"].tobytes()
    start = whole.index(numbers)
    for position in range(start, start + len(numbers)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert read_or_refuse(path)


def test_blocks_of_zeros_and_swapped_blocks_are_noticed(path):
    whole = path.read_bytes()
    for start in range(0, len(whole) - 64, 64):
        damaged = bytearray(whole)
        damaged[start : start + 64] = bytes(64)
        path.write_bytes(damaged)
        read_or_refuse(path)


def test_exchanged_arrays_are_noticed(path):
    """Each member is a sound file with a sound zip checksum; only the sha256 tells."""
    swapped = example_arrays()
    swapped["conv/kernel"] = swapped["conv/kernel"][::-1]
    buffer = io.BytesIO()
    np.save(buffer, swapped["conv/kernel"])
    rewrite(path, lambda name, content: buffer.getvalue() if name == "arrays/conv/kernel.npy" else content)
    with pytest.raises(FormatError, match="checksum differs"):
        native.read(path)


def test_missing_and_added_members(path):
    whole = path.read_bytes()
    rewrite(path, lambda name, content: None if name == "arrays/step.npy" else content)
    with pytest.raises(FormatError, match=r"'arrays/step.npy' is missing"):
        native.read(path)
    path.write_bytes(whole)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(FormatError, match=r"'notes.txt' does not belong there"):
        native.read(path)


def test_a_newer_format_says_to_upgrade(path):
    change_header(path, format_version=native.FORMAT_VERSION + 1, library_version="9.1")
    with pytest.raises(FormatError, match=r"kernelearn 9\.1 in format 2.*pip install -U"):
        native.read(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "is not a kernelearn file"),
        ({"format_version": "1"}, "format_version is '1'"),
        ({"format_version": 0}, "format_version is 0"),
        ({"config": None}, r"is damaged: its .*should be a? ?dict"),
        ({"arrays": []}, r"is damaged: its .*should be a? ?dict"),
        ({"arrays": {"step": {"sha256": ""}}}, "'step'. has no 'dtype'"),
    ],
)
def test_a_header_that_is_wrong(path, changes, message):
    change_header(path, **changes)
    with pytest.raises(FormatError, match=message):
        native.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"hello", "it is text that begins with 'hello'; expected what is saved as .kernelearn"),
        (bytes(100), "its first bytes, 00 00"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"\x80\x04\x95" + bytes(100), "never opened because loading one can run code"),
        (b"\x93NUMPY" + bytes(100), "NumPy"),
        (b'{"format": "kernelearn"}', "JSON"),
        (b"PK\x03\x04" + bytes(100), "damaged"),
    ],
)
def test_foreign_files_are_named(tmp_path, content, message):
    path = tmp_path / "a.kernelearn"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        native.read(path)


@pytest.mark.parametrize(
    ("member", "message"),
    [("metadata.json", r"\.keras"), ("archive/data.pkl", "PyTorch"), ("x", "zip without")],
)
def test_foreign_zips_are_named(tmp_path, member, message):
    path = tmp_path / "a.kernelearn"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"{}")
    with pytest.raises(FormatError, match=message):
        native.read(path)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil"])
def test_members_that_point_outside_are_refused(path, name):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"evil")
    with pytest.raises(FormatError, match="points outside"):
        native.read(path)


def test_a_repeated_member_is_refused(path):
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("arrays/step.npy", b"other")
    with pytest.raises(FormatError, match="a member occurs twice"):
        native.read(path)


def test_a_zip_bomb_is_refused_without_unpacking(path, monkeypatch):
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arrays/bomb.npy", bytes(50_000_000))
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("something was unpacked"))
    with pytest.raises(FormatError, match="has the compressed member"):
        native.read(path)


def test_content_above_the_limit_is_refused(path):
    with pytest.raises(FormatError, match=r"more than the limit of 100 bytes. Pass a larger max_bytes"):
        native.read(path, max_bytes=100)


def forged(path, npy: bytes) -> None:
    """A file whose checksums all fit, with a hostile array in it."""
    import hashlib

    about = {"sha256": hashlib.sha256(npy).hexdigest(), "dtype": "object", "shape": [1]}
    header = {"format": "kernelearn", "format_version": 1, "config": {}, "arrays": {"x": about}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("kernelearn.json", json.dumps(header))
        archive.writestr("arrays/x.npy", npy)


def npy_with_header(text: str, data: bytes = b"") -> bytes:
    padded = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode() + data


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_object_arrays_are_never_unpickled(path):
    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil()]), allow_pickle=True)
    forged(path, buffer.getvalue())
    with pytest.raises(FormatError, match="only numbers and booleans"):
        native.read(path)


@pytest.mark.parametrize(
    ("npy", "message"),
    [
        (
            npy_with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,)}"),
            "bytes of data",
        ),
        (
            npy_with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}", bytes(8)),
            "bytes of data",
        ),
        (
            npy_with_header("{'descr': '<f8', 'fortran_order': True, 'shape': (1,)}", bytes(8)),
            "damaged",
        ),
        (npy_with_header("__import__('os')"), "damaged"),
        (
            npy_with_header("{'descr': '|S8', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
            "only numbers",
        ),
        (
            npy_with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
            "the header says",
        ),
        (b"\x93NUMPY\x09\x00", "damaged"),
    ],
)
def test_hostile_arrays_are_refused(path, npy, message):
    forged(path, npy)
    with pytest.raises(FormatError, match=message):
        native.read(path)
