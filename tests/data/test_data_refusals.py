"""What must be refused is refused, with a message that names the culprit and the way out."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from kernelearn.data import load, load_image, save_idx, save_image_folder
from kernelearn.errors import ArgumentError, DataError, ShapeError


def refuses(message, source, error=DataError, **arguments):
    with pytest.raises(error, match=message) as caught:
        load(source, **arguments)
    return str(caught.value)


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def png(color=0, size=(4, 4)):
    buffer = io.BytesIO()
    Image.new("L", size, color).save(buffer, "png")
    return buffer.getvalue()


def test_unknown_sources_list_what_is_accepted(tmp_path):
    assert "a folder of IDX files" in refuses("There is no file or folder 'minst'", "minst")
    (tmp_path / "notes.txt").write_text("hello")
    assert "torch DataLoader" in refuses("of no known kind", tmp_path / "notes.txt")
    refuses("object of type int", 3)
    refuses("without labels", np.zeros((3, 2, 2)))
    refuses("holds nothing to train on", tmp_path)


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_mixed_sizes_need_resize(image_folder, cache_bytes):
    Image.new("RGB", (9, 9)).save(image_folder / "dog" / "odd.png")
    message = refuses("2 different sizes", image_folder, cache_bytes=cache_bytes)
    assert "60 of 61 are 8 x 6" in message
    assert "dog/odd.png is 9 x 9" in message
    assert "resize=(8, 6)" in message
    assert load(image_folder, resize=(8, 6), cache_bytes=cache_bytes).input_shape == (8, 6, 3)


def test_unreadable_and_truncated_pictures_are_named(image_folder):
    whole = (image_folder / "cat" / "000000.png").read_bytes()
    (image_folder / "cat" / "text.png").write_text("no picture")
    refuses("cat/text.png cannot be read as a picture: it is in no known picture format", image_folder)
    (image_folder / "cat" / "text.png").write_bytes(whole[: len(whole) // 2])
    refuses("cat/text.png is damaged or truncated", image_folder)
    (image_folder / "fox" / "empty.png").write_bytes(b"")
    refuses("1 of 62 files cannot be read", image_folder)
    (image_folder / "fox" / "empty.png").write_bytes(whole[: len(whole) // 2])
    message = refuses("2 of 62 pictures cannot be used", image_folder)
    assert "cat/text.png" in message
    assert "fox/empty.png" in message


def test_truncated_jpeg_is_named(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    save_image_folder(tmp_path / "d", x, [0, 1, 0, 1], ["a", "b"], ".jpg")
    path = tmp_path / "d" / "a" / "000000.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    refuses("a/000000.jpg is damaged or truncated", tmp_path / "d")
    with pytest.raises(DataError, match=r"000000.jpg is damaged or truncated"):
        load_image(path, (32, 32, 3))


def test_load_image_refusals(tmp_path):
    with pytest.raises(DataError, match="There is no picture"):
        load_image(tmp_path / "none.png", (4, 4, 1))
    with pytest.raises(DataError, match="The picture cannot be read as a picture"):
        load_image(b"hello", (4, 4, 1))
    with pytest.raises(ArgumentError, match="channels must be 1"):
        load_image(png(), (4, 4, 2))
    with pytest.raises(ArgumentError, match="needs a fixed size"):
        load_image(png(), (None, None, 1), resize=True)
    assert load_image(png(), (None, None, 1)).shape == (4, 4, 1)


def test_a_picture_of_too_many_pixels_is_refused(monkeypatch):
    monkeypatch.setattr("kernelearn.data.images.MAX_PIXELS", 15)
    with pytest.raises(DataError, match="4 x 4 pixels, more than the limit of 15"):
        load_image(png(), (4, 4, 1))


def test_empty_and_single_classes(image_folder, tmp_path):
    (image_folder / "owl").mkdir()
    refuses("classes without a picture: owl", image_folder)
    zip_of(tmp_path / "z.zip", {"a/1.png": png(), "b/1.png": png(), "owl/": ""})
    refuses("classes without a picture: owl", tmp_path / "z.zip")
    zip_of(tmp_path / "one.zip", {"images/1.png": png(), "images/2.png": png()})
    refuses("one class only, 'images'", tmp_path / "one.zip")


def test_loose_pictures_and_odd_folders(image_folder, tmp_path, images):
    Image.new("RGB", (6, 8)).save(image_folder / "loose.png")
    refuses("1 pictures, for example loose.png, lie in .* outside any class", image_folder)
    for role in ("train", "test", "holiday"):
        save_image_folder(tmp_path / "d" / role, *images, ["a", "b", "c"])
    refuses("beside them 'holiday'", tmp_path / "d")


def test_classes_that_only_the_test_part_has(tmp_path, images):
    save_image_folder(tmp_path / "d" / "train", *images, ["a", "b", "c"])
    save_image_folder(tmp_path / "d" / "test", *images, ["a", "b", "zebra"])
    refuses("classes zebra, which are not among the known classes a, b, c", tmp_path / "d")


@pytest.mark.parametrize(
    "name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:\\evil.png", "a\\..\\..\\b.png"]
)
def test_zip_that_would_leave_its_folder(tmp_path, name):
    zip_of(tmp_path / "z.zip", {"a/1.png": png(), "b/1.png": png(), name: png()})
    refuses("outside its folder", tmp_path / "z.zip")


def test_zip_bombs(tmp_path):
    zip_of(tmp_path / "z.zip", {"a/1.bmp": b"\0" * (3 << 20), "b/1.png": png()})
    refuses("a/1.bmp .* zip bomb", tmp_path / "z.zip")
    zip_of(tmp_path / "z.zip", {"a/1.png": png(), "b/1.png": png()})
    refuses("above the limit max_bytes=50", tmp_path / "z.zip", max_bytes=50)
    assert len(load(tmp_path / "z.zip", test=False).train) == 2


def test_zip_with_links_or_encryption(tmp_path):
    link = zipfile.ZipInfo("a/link.png")
    link.external_attr = 0o120777 << 16
    zip_of(tmp_path / "z.zip", {"b/1.png": png(), link: "/etc/passwd"})
    refuses("has a link, a/link.png", tmp_path / "z.zip")
    zip_of(tmp_path / "e.zip", {"a/1.png": png()})
    content = bytearray((tmp_path / "e.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of an encrypted member
    (tmp_path / "e.zip").write_bytes(content)
    refuses("is encrypted", tmp_path / "e.zip")


def test_damaged_zip(tmp_path):
    zip_of(tmp_path / "z.zip", {"a/1.png": png(), "b/1.png": png()})
    whole = (tmp_path / "z.zip").read_bytes()
    (tmp_path / "z.zip").write_bytes(whole[:-30])
    refuses("z.zip is damaged or truncated: File is not a zip file", tmp_path / "z.zip")
    damaged = bytearray(whole)
    damaged[45] ^= 0xFF  # inside the data of the first member
    (tmp_path / "z.zip").write_bytes(damaged)
    refuses("a/1.png in .*z.zip is damaged", tmp_path / "z.zip")


def test_idx_damage(idx_folder):
    path = idx_folder / "t10k-images-idx3-ubyte"
    whole = path.read_bytes()
    for content, message in {
        whole[:-1]: "t10k-images-idx3-ubyte is truncated: 960 bytes of values are expected for shape",
        whole + b"1": "is followed by more",
        whole[:9]: "is truncated inside its header",
        b"hello": "is no IDX file: it starts with 68 65 6c 6c",
        b"": "is no IDX file: it starts with nothing",
        struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 2**31): "above the limit max_bytes",
    }.items():
        path.write_bytes(content)
        refuses(message, idx_folder)
    path.write_bytes(whole)
    (idx_folder / "t10k-labels-idx1-ubyte").unlink()
    refuses("has no labels file beside it", idx_folder)


def test_idx_gzip_damage_and_wrong_labels(idx_folder):
    path = idx_folder / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    refuses("train-images-idx3-ubyte.gz is damaged or truncated", idx_folder)
    path.write_bytes(gzip.compress(b"hello"))
    refuses("is no IDX file", idx_folder)
    path.write_bytes(whole)
    save_idx(idx_folder / "train-labels-idx1-ubyte.gz", np.zeros(39, np.uint8))
    refuses("has 40 rows, labels .* has shape", idx_folder, error=ShapeError)


def test_layouts_of_arrays(images):
    x, y = images
    refuses(r"looks like channels first", (x.transpose(0, 3, 1, 2), y), error=ShapeError)
    refuses("one flat row per example", (x.reshape(60, -1), y), error=ShapeError)
    refuses("do not fill image_shape", (x.reshape(60, -1), y), error=ShapeError, image_shape=(5, 5))
    refuses("must be images", (x[None], y), error=ShapeError)


LABELS = {
    "gap": (np.arange(60) % 3 * 2, "2 of 5 classes have no training example: 1, 3"),
    "from one": (np.arange(60) % 3 + 1, "1 of 4 classes have no training example: 0"),
    "negative": (np.arange(60) % 3 - 1, r"must lie in 0\.\.1 \(2 classes\), but row"),
    "huge": (np.arange(60) * 10**12, "classes have no training example: 1, 2, 3"),
    "nan": (np.full(60, np.nan), "must hold finite"),
}


@pytest.mark.parametrize(("labels", "message"), LABELS.values(), ids=LABELS.keys())
def test_labels_of_arrays(images, labels, message):
    refuses(message, (images[0], labels), test=False)


def test_labels_beyond_class_names(images):
    refuses(r"must lie in 0\.\.1 \(2 classes\)", images, class_names=["a", "b"])
    with pytest.raises(ArgumentError, match="distinct names"):
        load(images, class_names=["a", "a", "b"])


def test_nan_in_images(images):
    x = images[0].astype(np.float32)
    x[13, 2, 2, 0] = np.nan
    refuses("row 13 has nan", (x, images[1]))


def test_parts_of_different_shape_or_kind(images):
    x, y = images
    refuses("must have one shape", ((x, y), (x[:, :4], y)), error=ShapeError)
    refuses("real-valued targets", ((x, y), (x, y + 0.5)))


def test_pickles_are_refused_wherever_they_hide(tmp_path, images):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "d.npz", x=np.array([Trap(), Trap()], dtype=object), y=np.arange(2))
    np.save(tmp_path / "x.npy", np.array([Trap()], dtype=object))
    np.save(tmp_path / "y.npy", np.zeros(1))
    (tmp_path / "d.pkl").write_bytes(pickle.dumps(Trap()))
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(pickle.dumps(Trap()))
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    (tmp_path / "sprung").unlink(missing_ok=True)
    for source in ("d.npz", "x.npy", "d.pkl", "cifar-10-batches-py", "cifar-10-python.tar.gz"):
        refuses("pickle", tmp_path / source)
    assert not (tmp_path / "sprung").exists()


def test_damaged_numpy_files(tmp_path, images):
    np.savez(tmp_path / "d.npz", x=images[0], y=images[1])
    whole = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(whole[:-50])
    refuses("d.npz is damaged or truncated", tmp_path / "d.npz")
    (tmp_path / "d.npz").write_bytes(whole)
    refuses("above the limit max_bytes=99", tmp_path / "d.npz", max_bytes=99)
    np.save(tmp_path / "x.npy", images[0])
    refuses("x.npy has no labels", tmp_path / "x.npy")
    np.save(tmp_path / "y.npy", images[1])
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    refuses("x.npy is damaged or truncated", tmp_path / "x.npy")
    refuses("There is no file", ("nowhere.npy", "y.npy"))


def test_cifar_refusals(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(bytes(3073 * 2 - 1))
    refuses("data_batch_1.bin in .* is truncated: 6,145 bytes", tmp_path)
    path.write_bytes(bytes(3073) + b"\x0b" + bytes(3072))
    refuses(r"must lie in 0\.\.9 \(10 classes\), but row 1 has 11", tmp_path)


def test_tar_refusals(tmp_path):
    def pack(name, content=b"hello"):
        with tarfile.open(tmp_path / "d.tar.gz", "w:gz") as archive:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

    pack("../data_batch_1.bin")
    refuses("outside its folder", tmp_path / "d.tar.gz")
    pack("notes.txt")
    refuses("holds no CIFAR .bin files", tmp_path / "d.tar.gz")
    pack("data_batch_1.bin", bytes(3073 * 30))
    refuses("above the limit max_bytes=1,000", tmp_path / "d.tar.gz", max_bytes=1000)
    (tmp_path / "d.tar.gz").write_bytes((tmp_path / "d.tar.gz").read_bytes()[:60])
    refuses("d.tar.gz is damaged or truncated", tmp_path / "d.tar.gz")


ARGUMENTS = {
    "resize": {"resize": (4, 4, 3)},
    "resize of zero": {"resize": 0},
    "channels": {"channels": 2},
    "seed": {"seed": -1},
    "test": {"test": 1.5},
    "test of all": {"test": 1797},
    "validation": {"validation": -0.1},
    "grey to four": {"channels": 4},
}


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_arguments(arguments):
    with pytest.raises(ArgumentError):
        load("digits", **arguments)


def test_a_size_for_a_test_part_that_the_source_brings(idx_folder):
    refuses("comes with a test part of its own", idx_folder, error=ArgumentError, test=0.5)
    assert load(idx_folder, test=False).test is None
