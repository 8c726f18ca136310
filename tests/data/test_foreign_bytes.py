"""Files from unknown hands: one error that names the file, memory by what is there, no waiting for ever."""

import gzip
import io
import os
import socket
import stat
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from kernelearn.data import load, load_image
from kernelearn.data.archives import tar_files
from kernelearn.errors import DataError
from tests.data.picture_bytes import chunk

MB = 1 << 20


def pictures(folder, count=2):
    for number in range(count):
        for name in "ab":
            (folder / name).mkdir(parents=True, exist_ok=True)
            picture = np.full((4, 4), 50 * number, np.uint8)
            Image.fromarray(picture).save(folder / name / f"{number}.png")
    return folder


def npy_bytes(array, **arguments):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), **arguments)
    return buffer.getvalue()


def cifar_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return path


def records(count, label_bytes=1, seed=0):
    rows = np.random.default_rng(seed).integers(0, 256, (count, label_bytes + 3072), dtype=np.uint8)
    rows[:, :label_bytes] = np.arange(count)[:, None] % 10
    return rows.tobytes()


def peak_of(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Special files


def special(path, kind):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name("pipe"))
        path.symlink_to(path.with_name("pipe"))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as endpoint:
            here = os.getcwd()
            os.chdir(path.parent)  # the path of a socket must be short
            endpoint.bind(path.name)
            os.chdir(here)


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "device", "socket"])
@pytest.mark.parametrize("name", ["x.zip", "x.npz", "x.tar", "x.tar.gz", "x.npy", "x.png"])
def test_special_files_are_refused(tmp_path, kind, name):
    special(tmp_path / name, kind)
    np.save(tmp_path / "y.npy", np.arange(3))
    with pytest.raises(DataError, match=r"(pipe|device|socket), not a file|a socket|No such device"):
        if name.endswith(".png"):
            load_image(tmp_path / name, (4, 4, 1))
        else:
            load(tmp_path / name)


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["x.npy", "a/x.png"])
def test_special_files_in_folders_are_refused(tmp_path, kind, name):
    if "/" in name:
        pictures(tmp_path)
    else:
        np.save(tmp_path / "y.npy", np.arange(3))
    special(tmp_path / name, kind)
    with pytest.raises(DataError, match="not a file"):
        load(tmp_path)


def test_a_broken_link_and_a_removed_picture(tmp_path):
    folder = pictures(tmp_path / "d")
    lazy = load(folder, test=False, cache_bytes=0)
    (folder / "a" / "0.png").unlink()
    with pytest.raises(DataError, match=r"0\.png is not there"):
        lazy.train.arrays()
    (folder / "a" / "0.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(DataError, match=r"0\.png is not there.*broken link"):
        load(folder)


# Names


@pytest.mark.parametrize("place", [b"caf\xe9", b"a/caf\xe9.png"])
def test_names_that_are_no_text_are_refused(tmp_path, place):
    folder = os.fsencode(pictures(tmp_path / "d"))
    path = os.path.join(folder, place)
    if place.endswith(b".png"):
        os.link(os.path.join(folder, b"a/0.png"), path)
    else:
        os.mkdir(path)
        os.link(os.path.join(folder, b"a/0.png"), os.path.join(path, b"0.png"))
    with pytest.raises(DataError, match="not UTF-8") as caught:
        load(tmp_path / "d")
    assert r"\udce9" in str(caught.value).encode().decode()  # it can be written down


def test_the_folder_itself_may_not_have_such_a_name(tmp_path):
    pictures(tmp_path / "caf\udce9")
    with pytest.raises(DataError, match="not UTF-8"):
        load(tmp_path / "caf\udce9")


def test_zip_members_with_odd_names(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/é.png", b"1")
    content = (tmp_path / "x.zip").read_bytes().replace("é".encode(), b"\xff\xfe")
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.zip"):
        load(tmp_path / "x.zip")
    for name in ("", "/"):
        about = zipfile.ZipInfo("x")
        about.filename = name
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr(about, b"1")
        with pytest.raises(DataError):
            load(tmp_path / "x.zip")


# Pictures


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n",
        b"\0\0\1\0" + bytes(60),
        b"\x0a\5\1\x08" + bytes(200),
    ],
)
def test_only_the_formats_of_the_suffixes_are_tried(tmp_path, content, monkeypatch):
    started = []
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: started.append(a))
    folder = pictures(tmp_path / "d")
    (folder / "a" / "photo.png").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for path in folder.rglob("*.png"):
            archive.write(path, path.relative_to(folder))
    for source in (folder, tmp_path / "d.zip"):
        with pytest.raises(DataError, match=r"photo\.png cannot be read as a picture"):
            load(source)
    with pytest.raises(DataError, match="no known picture format"):
        load_image(folder / "a" / "photo.png", (8, 8, 3))
    assert not started


@pytest.mark.parametrize("kind", ["TGA", "ICO", "PCX", "SGI", "EPS", "JPEG2000", "DDS", "AVIF", "QOI"])
def test_other_formats_are_not_opened_under_a_known_suffix(tmp_path, kind):
    path = tmp_path / "photo.png"
    try:
        Image.new("RGB", (16, 16)).save(path, kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow cannot write {kind}")
    with pytest.raises(DataError, match="no known picture format"):
        load_image(path, (16, 16, 3))


def test_a_size_that_a_picture_cannot_have_takes_no_memory():
    header = struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    content = start + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    for bad in (content, b"P6 9000 9000 255\n" + bytes(100)):
        with pytest.raises(DataError, match="claims 9000 x 9000 pixels"):
            load_image(bad, (None, None, 3))


def test_damaged_exif_is_refused(tmp_path):
    tags = Image.Exif()
    tags[0x0112] = 1
    folder = pictures(tmp_path / "d")
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "WEBP", exif=tags.tobytes())
    content = bytearray(buffer.getvalue())
    content[max(content.find(b"MM\0*"), content.find(b"II*\0"))] = 0
    (folder / "a" / "bad.webp").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.webp"):
        load(folder)
    with pytest.raises(DataError, match=r"bad\.webp"):
        load_image(folder / "a" / "bad.webp", (4, 4, 3))


# NumPy's files


def test_one_changed_byte_of_a_header_is_not_read_as_other_numbers(tmp_path):
    y = np.array([172, 117, 3, 9], np.int32)
    for old, new in ((b"<i4", b"<i2"), (b"(4,)", b"(3,)"), (b"<i4", b"<f4"), (b"<i4", b">i4")):
        np.savez(tmp_path / "d.npz", x=np.zeros((4, 2, 2)), y=y)
        content = (tmp_path / "d.npz").read_bytes()
        assert old in content
        (tmp_path / "d.npz").write_bytes(content.replace(old, new))
        with pytest.raises(DataError, match=r"d\.npz"):
            load(tmp_path / "d.npz", test=False)


HEADERS = [
    "{'descr': '<f8', 'fortran_order': False, 'shape': (",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000000000000000,)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (True, 4)}",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
    "{1: 2, 'descr': '<f8', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': [('a', '<f8', 2000000000)], 'fortran_order': False, 'shape': (1,)}",
    "{'descr': 'O', 'fortran_order': False, 'shape': (1,)}",
    "(" * 150,
    "[" * 5000,
    "1_",
    "",
]


@pytest.mark.parametrize("header", HEADERS)
def test_headers_that_numpy_fails_at_in_its_own_ways(tmp_path, header):
    text = header.encode().ljust(118) + b"\n"
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(8)
    (tmp_path / "x.npy").write_bytes(content)
    np.save(tmp_path / "y.npy", np.arange(1))
    with pytest.raises(DataError, match=r"x\.npy"):
        load(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", content)
        archive.writestr("y.npy", npy_bytes([1]))
    with pytest.raises(DataError, match=r"x\.npy in .*d\.npz"):
        load(tmp_path / "d.npz")


@pytest.mark.parametrize("name", ["class_names", "y"])
def test_text_beyond_the_last_character(tmp_path, name):
    arrays = {"x": np.zeros((2, 4, 4)), "y": np.array([0, 1]), "class_names": np.array(["a", "b"])}
    arrays[name] = np.array([0x110000, 0x61], np.uint32).view("<U1")
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError, match="characters that do not exist"):
        load(tmp_path / "d.npz", test=False)


def test_a_name_that_differs_in_the_directory_of_a_zip(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 4, 4)), y=[0, 1], class_names=np.array(["a", "b"]))
    content = (tmp_path / "d.npz").read_bytes()
    place = content.rindex(b"class_names")
    (tmp_path / "d.npz").write_bytes(content[:place] + b"k" + content[place + 1 :])
    with pytest.raises(DataError, match=r"header .* differ"):
        load(tmp_path / "d.npz", test=False)


def test_the_checksum_of_a_png_is_compared(tmp_path):
    folder = pictures(tmp_path)
    content = bytearray((folder / "a" / "0.png").read_bytes())
    content[content.index(b"IEND") - 6] ^= 1  # in the checksum of the pixels
    (folder / "a" / "0.png").write_bytes(bytes(content))
    with pytest.raises(DataError, match="checksum of its chunk"):
        load(folder)


def test_arrays_that_nobody_asked_for_are_not_read(tmp_path):
    x = np.random.default_rng(0).random((20, 4, 4))
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_bytes(x))
        archive.writestr("y.npy", npy_bytes(np.arange(20) % 2))
        noise = np.random.default_rng(0).integers(0, 4, 20 * MB, dtype=np.uint8)
        archive.writestr("other.npy", npy_bytes(noise))
    loaded = []
    assert peak_of(lambda: loaded.append(load(tmp_path / "d.npz", test=False))) < 5 * MB
    assert np.array_equal(loaded[0].train.raw()[..., 0], x)


def test_a_npz_that_expands_beyond_belief(tmp_path):
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((2, 1000, 1000)), y=[0, 1])
    with pytest.raises(DataError, match="200 times"):
        load(tmp_path / "d.npz")


def test_trailing_bytes_and_missing_bytes_of_npy(tmp_path):
    np.save(tmp_path / "y.npy", np.arange(4))
    whole = npy_bytes(np.zeros((4, 2, 2)))
    for content in (whole + b"1", whole[:-1]):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(DataError, match="bytes of data"):
            load(tmp_path / "x.npy")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_orders_and_versions_of_npy(tmp_path, order, version):
    x = np.asarray(np.random.default_rng(0).random((6, 4, 3)), order=order)
    (tmp_path / "x.npy").write_bytes(npy_bytes(x, version=version))
    np.save(tmp_path / "y.npy", np.arange(6) % 2)
    assert np.array_equal(load(tmp_path / "x.npy", test=False).train.raw()[..., 0], x)


# Zip


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_methods_of_zip_are_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        archive.writestr("a/1.png", b"1" * 100)
    with pytest.raises(DataError, match=r"method \d+"):
        load(tmp_path / "x.zip")


# IDX and gzip


def idx_set(folder, images):
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(images)
    labels = bytes([0, 0, 8, 1]) + struct.pack(">I", 3) + bytes([0, 1, 2])
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    return folder


def test_a_size_that_is_only_declared_takes_no_memory(tmp_path):
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", 60_000, 280, 280)
    for name, content in (("packed", gzip.compress(header + b"1")), ("plain", header + b"1")):
        folder = idx_set(tmp_path / name, content)

        def attempt(folder=folder):
            with pytest.raises(DataError, match="truncated"):
                load(folder)

        assert peak_of(attempt) < 2 * MB


def test_sizes_of_which_the_product_overflows_beside_a_zero(tmp_path):
    header = bytes([0, 0, 8, 4]) + struct.pack(">4I", 2**32 - 1, 2**32 - 1, 2**32 - 1, 0)
    with pytest.raises(DataError):
        load(idx_set(tmp_path / "d", header))


def test_the_checksum_of_a_gzip_is_compared(tmp_path):
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", 3, 4, 4)
    packed = bytearray(gzip.compress(header + bytes(range(48))))
    packed[-8] ^= 1  # of the checksum
    with pytest.raises(DataError, match="CRC"):
        load(idx_set(tmp_path / "d", bytes(packed)))


def test_a_gzip_that_expands_beyond_belief(tmp_path):
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", 3, 1000, 1000)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz"):
        load(idx_set(tmp_path / "d", gzip.compress(header + bytes(3 * MB))))


# CIFAR and tar


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_cifar_in_a_tar(tmp_path, mode):
    members = {"c/data_batch_1.bin": records(20), "c/data_batch_2.bin": records(10, seed=1)}
    members["c/test_batch.bin"] = records(10, seed=2)
    data = load(cifar_tar(tmp_path / "cifar.tar", members, mode))
    assert (len(data.train), len(data.test)) == (30, 10)
    row = np.frombuffer(records(10, seed=1), np.uint8).reshape(10, -1)[3]
    assert np.array_equal(data.train.raw()[23], row[1:].reshape(3, 32, 32).transpose(1, 2, 0))


def test_class_names_that_are_no_text(tmp_path):
    members = {"data_batch_1.bin": records(20), "batches.meta.txt": b"plane\xff\ncar"}
    with pytest.raises(DataError, match=r"batches\.meta\.txt"):
        load(cifar_tar(tmp_path / "c.tar.gz", members))


def test_files_of_both_sets_in_one_place(tmp_path):
    members = {"test.bin": records(10, 2), "test_batch.bin": records(10)}
    with pytest.raises(DataError, match="CIFAR-10 and of CIFAR-100"):
        load(cifar_tar(tmp_path / "c.tar.gz", members))


def test_a_tar_that_expands_beyond_belief(tmp_path):
    bomb = cifar_tar(tmp_path / "c.tar.gz", {"data_batch_1.bin": bytes(3073 * 4000)})

    def attempt():
        with pytest.raises(DataError, match=r"200 times|claims"):
            load(bomb)

    assert peak_of(attempt) < 8 * MB


def test_long_names_and_extended_headers_take_no_memory(tmp_path):
    noise = np.random.default_rng(0).integers(97, 101, 30 * MB, dtype=np.uint8).tobytes()
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE):
        about = tarfile.TarInfo("././@LongLink")
        about.type, about.size = kind, len(noise)
        path = tmp_path / "long.tar.gz"
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(about.tobuf(tarfile.GNU_FORMAT) + noise + bytes(1024))

        def attempt(path=path):
            with pytest.raises(DataError, match="extended headers"):
                load(path, max_bytes=100 * MB)

        assert peak_of(attempt) < 8 * MB


def test_sparse_files_of_a_tar_are_refused(tmp_path):
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "data_batch_1.bin"}
    about = tarfile.TarInfo("data_batch_1.bin")
    about.size, about.pax_headers = 512, headers
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(about, io.BytesIO(b"1\n0\n512\n".ljust(512, b"\0")))
    with pytest.raises(DataError, match="sparse"):
        load(tmp_path / "s.tar")


def test_a_damaged_header_is_not_the_end_of_a_tar(tmp_path):
    members = {"data_batch_1.bin": records(20), "data_batch_2.bin": records(20, seed=1)}
    path = cifar_tar(tmp_path / "c.tar", members, "w")
    whole = path.read_bytes()
    assert len(load(path, test=False).train) == 40
    place = whole.index(b"data_batch_2.bin")
    for damage in (
        whole[:place] + b"D" + whole[place + 1 :],
        whole[:place],
        whole[: place + 100],
        whole[:-8000],
    ):
        path.write_bytes(damage)
        with pytest.raises(DataError, match=r"c\.tar"):
            load(path, test=False)


def test_a_member_larger_than_the_tar(tmp_path):
    about = tarfile.TarInfo("data_batch_1.bin")
    about.size = 3073 * 10**9
    (tmp_path / "c.tar").write_bytes(about.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(DataError, match="claims"):
        load(tmp_path / "c.tar", max_bytes=1 << 60)


def test_the_checksum_of_a_packed_tar_is_compared(tmp_path):
    path = cifar_tar(tmp_path / "c.tar.gz", {"data_batch_1.bin": records(20)})
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="CRC"):
        load(path)


def test_a_tar_of_nothing_but_members(tmp_path, monkeypatch):
    monkeypatch.setattr("kernelearn.data.archives._MAX_TAR_MEMBERS", 5)
    path = cifar_tar(tmp_path / "c.tar", {str(number): b"" for number in range(7)}, "w")
    with pytest.raises(DataError, match="more than 5 members"):
        list(tar_files(path, MB))


def test_images_of_cifar_are_not_copied_about(tmp_path):
    members = {f"data_batch_{number}.bin": records(1500, seed=number) for number in range(4)}
    path = cifar_tar(tmp_path / "c.tar", members, "w")
    del members
    # NOTE: what one file gives is let go once it is copied, but a place for all counts before it is filled.
    assert peak_of(lambda: load(path, test=False)) < 2.2 * 4 * 1500 * 3073


def test_plain_files_stay_plain(tmp_path):
    path = cifar_tar(tmp_path / "c.tar", {"data_batch_1.bin": records(20)}, "w")
    assert stat.S_ISREG(path.stat().st_mode)
    link = tmp_path / "link.tar"
    link.symlink_to(path)
    assert len(load(link, test=False).train) == 20


def test_a_bomb_of_text_in_a_png_is_refused():
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0))
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 * MB)))
    end = chunk(b"IDAT", zlib.compress(bytes(20))) + chunk(b"IEND", b"")

    def attempt():
        with pytest.raises(DataError):
            load_image(start + bomb + end, (4, 4, 1))

    assert peak_of(attempt) < 20 * MB
