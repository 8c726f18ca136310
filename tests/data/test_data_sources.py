"""Every kind of source gives back the images and labels that were written, in the right parts."""

import gzip
import io
import mmap
import sys
import tarfile
import threading
import types

import numpy as np
import pytest
from PIL import Image

from kernelearn.data import Data, as_dataset, load, load_image, read_idx, save_idx, save_image_folder
from kernelearn.errors import DataError, MissingDependencyError


def contents(part):
    """{label: set of image bytes} of a part, to compare without regard to order."""
    x, y = part.raw(), part.labels
    return {label: {image.tobytes() for image in x[y == label]} for label in np.unique(y).tolist()}


def expected(x, y):
    return {label: {image.tobytes() for image in x[y == label]} for label in np.unique(y).tolist()}


def test_digits_are_exact_sixteenths():
    data = load("digits")
    x, y = data.train.arrays()
    assert (len(data.train), len(data.test), data.input_shape, data.classes) == (1438, 359, (8, 8, 1), 10)
    assert data.class_names == [str(digit) for digit in range(10)]
    assert x.dtype == np.float32
    assert set(np.unique(x * 16)) == set(range(17))
    assert np.bincount(y).min() >= 139


def test_default_split_is_a_seeded_partition():
    whole = load("digits", test=False)
    assert whole.test is None
    a, b, other = load("digits"), load("digits"), load("digits", seed=1)
    assert a.fingerprint == b.fingerprint != other.fingerprint
    together = sorted(row.tobytes() for part in (a.train, a.test) for row in part.raw())
    assert together == sorted(row.tobytes() for row in whole.train.raw())


def test_three_parts_by_fraction_and_count():
    data = load("digits", test=0.25, validation=100)
    assert [len(part) for part in data.parts().values()] == [1797 - 449 - 100, 100, 449]
    for part in data.parts().values():
        assert set(part.labels.tolist()) == set(range(10))


def test_idx_folder_keeps_its_test_part(idx_folder, images):
    x, y = images
    data = load(idx_folder)
    assert np.array_equal(data.train.raw(), x[:40, ..., :1])
    assert np.array_equal(data.test.raw(), x[40:, ..., :1])
    assert np.array_equal(data.test.labels, y[40:])
    assert (data.classes, data.class_names, data.name) == (3, None, "mnist")


def test_idx_folder_of_one_part_is_all_there_is(idx_folder, images):
    for path in idx_folder.glob("train-*"):
        path.unlink()
    data = load(idx_folder, test=6, shuffle_split=False)
    assert np.array_equal(data.train.raw(), images[0][40:54, ..., :1])
    assert np.array_equal(data.test.raw(), images[0][54:, ..., :1])
    assert len(load(idx_folder).test) == 4


def test_idx_file_with_its_partners(idx_folder, images):
    save_idx(idx_folder / "emnist-letters-train-images-idx3-ubyte", images[0][:9, ..., 0])
    save_idx(idx_folder / "emnist-letters-train-labels-idx1-ubyte", images[1][:9].astype(np.uint8))
    with pytest.raises(DataError, match="several sets for the train part"):
        load(idx_folder)
    data = load(idx_folder / "train-images-idx3-ubyte.gz")
    assert (len(data.train), len(data.test)) == (40, 20)
    assert len(load(idx_folder / "emnist-letters-train-images-idx3-ubyte", test=False).train) == 9


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_idx_round_trip(tmp_path, dtype, name):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    save_idx(tmp_path / name, array)
    back = read_idx(tmp_path / name)
    assert np.array_equal(back, array)
    assert back.dtype == array.dtype


def test_image_folder(image_folder, images):
    data = load(image_folder, test=False)
    assert data.class_names == ["cat", "dog", "fox"]
    assert contents(data.train) == expected(*images)
    assert data.input_shape == (8, 6, 3)


@pytest.mark.parametrize("inside", ["", "pets/", "a/b/"])
def test_zip_equals_folder(image_folder, zipped, tmp_path, inside):
    data = load(zipped(image_folder, tmp_path / "pets.zip", inside), test=False)
    assert contents(data.train) == contents(load(image_folder, test=False).train)
    assert data.class_names == ["cat", "dog", "fox"]


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_train_and_held_out_folders(tmp_path, images, held_out, zipped):
    x, y = images
    names = ["cat", "dog", "fox"]
    save_image_folder(tmp_path / "d" / "train", x[:40], y[:40], names)
    save_image_folder(tmp_path / "d" / held_out, x[40:], y[40:], names)
    for source in (tmp_path / "d", zipped(tmp_path / "d", tmp_path / "d.zip")):
        data = load(source)
        assert contents(data.train) == expected(x[:40], y[:40])
        assert contents(data.test) == expected(x[40:], y[40:])
        assert data.validation is None


def test_a_folder_of_the_test_part_alone_is_all_there_is(tmp_path, images):
    save_image_folder(tmp_path / "d" / "test", *images, ["a", "b", "c"])
    assert contents(load(tmp_path / "d", test=False).train) == expected(*images)


def test_train_val_and_test_folders(tmp_path, images):
    x, y = images
    for role, rows in {"train": slice(0, 30), "valid": slice(30, 45), "test": slice(45, 60)}.items():
        save_image_folder(tmp_path / "d" / role, x[rows], y[rows], ["a", "b", "c"])
    data = load(tmp_path / "d", validation=0.5)
    assert [len(part) for part in data.parts().values()] == [30, 15, 15]
    assert contents(data.validation) == expected(x[30:45], y[30:45])
    assert any("is used, and validation=0.5 is not" in text for text in data.warnings)


def test_lazy_reading_equals_cached_and_ends_its_threads(image_folder):
    cached = load(image_folder, test=False)
    lazy = load(image_folder, test=False, cache_bytes=0, workers=3)
    assert (cached.train.is_lazy, lazy.train.is_lazy) == (False, True)
    assert cached.fingerprint == lazy.fingerprint
    arguments = {"shuffle": True, "seed": 3, "epoch": 1, "start": 2}
    pairs = list(zip(cached.train.batches(7, **arguments), lazy.train.batches(7, **arguments), strict=True))
    assert len(pairs) == 7
    for (x, y, _), (lazy_x, lazy_y, _) in pairs:
        assert x.tobytes() == lazy_x.tobytes()
        assert y.tobytes() == lazy_y.tobytes()
    assert np.array_equal(lazy.train.arrays()[0], cached.train.arrays()[0])
    assert np.array_equal(lazy.train.example(5)[0], cached.train.example(5)[0])
    before = threading.active_count()
    batches = lazy.train.batches(4)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


def test_lazy_start_decodes_nothing_it_skips(image_folder, monkeypatch):
    data = load(image_folder, test=False, cache_bytes=0, workers=1).train
    read = []
    decode = data._store.decode
    monkeypatch.setattr(data._store, "decode", lambda content, row: read.append(row) or decode(content, row))
    list(data.batches(10, start=5))
    assert read == list(range(50, 60))


def test_lazy_damage_is_named_and_leaves_no_thread(image_folder):
    data = load(image_folder, test=False, cache_bytes=0)
    bad = sorted((image_folder / "dog").iterdir())[3]
    bad.write_bytes(bad.read_bytes()[:-40])
    before = threading.active_count()
    with pytest.raises(DataError, match=f"dog/{bad.name} is damaged or truncated"):
        list(data.train.batches(8))
    assert threading.active_count() == before


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".webp", ".tif", ".ppm", ".jpg"])
def test_formats(tmp_path, suffix):
    x = np.zeros((4, 8, 8, 3), np.uint8)
    x[1], x[3] = 255, 255
    save_image_folder(tmp_path / "d", x, [0, 1, 0, 1], ["black", "white"], suffix)
    data = load(tmp_path / "d", test=False)
    values = data.train.arrays()[0].mean(axis=(1, 2, 3))
    assert np.abs(values - [0, 0, 1, 1]).max() < 0.02


def test_pictures_of_all_modes_become_grey_or_colour(tmp_path):
    grey = Image.fromarray(np.full((4, 4), 100, np.uint8))
    wide = Image.fromarray(np.full((4, 4), 100 * 257, np.uint16))
    modes = {"L": grey, "1": grey.convert("1"), "LA": grey.convert("LA"), "16": wide}
    for folder in ("a", "b"):
        (tmp_path / "d" / folder).mkdir(parents=True)
        for name, image in modes.items():
            image.save(tmp_path / "d" / folder / f"{name}.png")
    data = load(tmp_path / "d", test=False)
    assert data.input_shape == (4, 4, 1)
    by_name = dict(zip(sorted(modes), data.train.raw()[:4]))
    assert (by_name["16"] == np.float32(100 / 255)).all()
    assert (by_name["LA"] == np.float32(100 / 255)).all()
    for mode in ("RGB", "RGBA", "P", "CMYK"):
        suffix = "tif" if mode == "CMYK" else "png"
        Image.new("RGB", (4, 4), (200, 0, 0)).convert(mode).save(tmp_path / "d" / "a" / f"{mode}.{suffix}")
    data = load(tmp_path / "d", test=False)
    assert data.input_shape == (4, 4, 3)
    assert load(tmp_path / "d", test=False, channels=1).input_shape == (4, 4, 1)
    assert load(tmp_path / "d", test=False, channels=4).input_shape == (4, 4, 4)


def test_upright_by_exif_and_resize(tmp_path):
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8) * 5)
    exif = image.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    turned = load_image(tmp_path / "turned.png", (8, 6, 1))
    assert np.array_equal(turned[..., 0] * 255, np.rot90(np.asarray(image), -1))
    assert load_image(tmp_path / "turned.png", (4, 4, 3), resize=True).shape == (4, 4, 3)
    with pytest.raises(DataError, match=r"8 x 6 pixels .* expected 4 x 4"):
        load_image(tmp_path / "turned.png", (4, 4, 1))


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_load_image_equals_training(image_folder, cache_bytes):
    path = image_folder / "cat" / "000000.png"
    for arguments in ({}, {"resize": (5, 7)}, {"resize": 4, "channels": 1}):
        data = load(image_folder, test=False, cache_bytes=cache_bytes, **arguments)
        shape = data.input_shape
        trained_on = data.train.example(0)[0]
        assert np.array_equal(load_image(path, shape, resize=True), trained_on)
        assert np.array_equal(load_image(path.read_bytes(), shape, resize=True), trained_on)
        assert np.array_equal(load_image(Image.open(path), shape, resize=True), trained_on)


def test_class_names_fix_the_labels_of_further_folders(image_folder):
    for picture in (image_folder / "dog").iterdir():
        picture.unlink()
    (image_folder / "dog").rmdir()
    data = load(image_folder, test=False, class_names=["fox", "dog", "cat"])
    assert np.bincount(data.train.labels).tolist() == [20, 0, 20]
    assert data.class_names == ["fox", "dog", "cat"]
    with pytest.raises(DataError, match="classes fox, which are not among"):
        load(image_folder, class_names=["cat", "dog"])


def test_class_names_reorder_or_rename_those_of_the_source():
    plain = load("digits", test=False).train
    backwards = load("digits", test=False, class_names=[str(digit) for digit in range(9, -1, -1)])
    assert np.array_equal(backwards.train.labels, 9 - plain.labels)
    renamed = load("digits", test=False, class_names=list("abcdefghij"))
    assert np.array_equal(renamed.train.labels, plain.labels)
    assert renamed.train.class_names == renamed.class_names == list("abcdefghij")
    with pytest.raises(DataError, match="class_names has 3 names, but digits has 10 classes"):
        load("digits", class_names=["a", "b", "c"])


def test_a_further_source_for_testing(tmp_path, image_folder, images):
    save_image_folder(tmp_path / "more", images[0][:10], [0, 2] * 5, ["cat", "dog", "fox"])
    data = load(image_folder, test=tmp_path / "more", validation=0.2)
    assert [len(part) for part in data.parts().values()] == [48, 12, 10]
    assert np.bincount(data.test.labels).tolist() == [5, 0, 5]


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_npz_with_parts(tmp_path, images, keys):
    x, y = images
    np.savez(tmp_path / "d.npz", **dict(zip(keys, (x[:40], y[:40, None], x[40:], np.eye(3)[y[40:]]))))
    data = load(tmp_path / "d.npz")
    assert np.array_equal(data.train.raw(), x[:40])
    assert np.array_equal(data.train.labels, y[:40])
    assert np.array_equal(data.test.labels, y[40:])
    assert data.name == "d"


@pytest.mark.parametrize("keys", [("x", "y"), ("images", "labels"), ("data", "target"), ("arr_0", "arr_1")])
def test_npz_of_one_part(tmp_path, images, keys):
    x, y = images
    np.savez_compressed(tmp_path / "d.npz", **dict(zip(keys, (x[..., 0], y))), class_names=["a", "b", "c"])
    data = load(tmp_path / "d.npz", test=False)
    assert np.array_equal(data.train.raw(), x[..., :1])
    assert data.class_names == ["a", "b", "c"]


def test_npz_with_named_columns(tmp_path, images):
    np.savez(tmp_path / "d.npz", photos=images[0], species=images[1])
    with pytest.raises(DataError, match=r"only \['photos', 'species'\]"):
        load(tmp_path / "d.npz")
    assert load(tmp_path / "d.npz", x_column="photos", y_column="species").classes == 3


def test_npy_pair_file_folder_and_tuple(tmp_path, images):
    x, y = images
    np.save(tmp_path / "x_train.npy", x)
    np.save(tmp_path / "y_train.npy", y)
    sources = [tmp_path, tmp_path / "x_train.npy", (tmp_path / "x_train.npy", str(tmp_path / "y_train.npy"))]
    for source in sources:
        data = load(source, test=False)
        assert np.array_equal(data.train.raw(), x)
        assert np.array_equal(data.train.labels, y)
    held = data.train._store.x
    while isinstance(held, np.ndarray):
        held = held.base
    assert isinstance(held, mmap.mmap)  # still on disk, so it may be larger than memory


def test_arrays_in_all_forms(images):
    x, y = images
    for source in ((x, y), [x, y], {"x": x, "y": y}, (x.tolist(), y.tolist()), as_dataset(x, y)):
        data = load(source, test=20, shuffle_split=False)
        assert np.array_equal(data.train.raw(), x[:40])
        assert np.array_equal(data.test.labels, y[40:])
    data = load(((x[:40], y[:40]), (x[40:], y[40:])), validation=(x[:10], y[:10]))
    assert [len(part) for part in data.parts().values()] == [40, 10, 20]


def test_string_labels_agree_between_parts(images):
    x, _ = images
    names = np.array(["ant", "bee", "cow"])
    train, test = names[np.arange(40) % 3], np.array(["cow", "bee"] * 10)
    data = load(((x[:40], train), (x[40:], test)))
    assert data.class_names == ["ant", "bee", "cow"]
    assert data.test.labels.tolist() == [2, 1] * 10
    with pytest.raises(DataError, match="gnu"):
        load(((x[:40], train), (x[40:], np.array(["cow", "gnu"] * 10))))


def test_layouts_of_arrays(images):
    x, y = images
    assert np.array_equal(load((x.transpose(0, 3, 1, 2), y), channels_first=True, test=False).train.raw(), x)
    flat = load((x.reshape(60, -1), y), image_shape=(8, 6, 3), test=False)
    assert np.array_equal(flat.train.raw(), x)
    assert load((x, y), channels=1).input_shape == (8, 6, 1)
    assert load((x[..., 0], y), channels=3, resize=(4, 5)).input_shape == (4, 5, 3)
    small = load(("digits"), resize=16, test=False).train
    assert (small.x_shape, small.raw().dtype) == ((16, 16, 1), np.float32)
    assert 0 <= small.raw().min() <= small.raw().max() <= 1


def test_grey_of_arrays_equals_grey_of_pictures(image_folder, images):
    from_pictures = load(image_folder, channels=1, test=False).train
    from_arrays = load(images, channels=1, test=False).train
    assert {x.tobytes() for x in from_pictures.raw()} == {x.tobytes() for x in from_arrays.raw()}


def test_regression_targets(images):
    x, _ = images
    y = np.linspace(-1, 1, 60)
    data = load((x, y), validation=0.25)
    assert (data.classes, data.class_names) == (0, None)
    assert np.concatenate([part.labels for part in data.parts().values()]).sum() == pytest.approx(0)
    assert data.describe().targets["minimum"] >= -1
    assert data.sample(5)[0].shape == (5, 8, 6, 3)
    assert any("cast them to int" in text for text in load((x, np.arange(60) % 3 * 1.0)).warnings)


def cifar_record(image, *labels):
    return bytes(labels) + image.transpose(2, 0, 1).tobytes()


@pytest.fixture
def pictures32():
    return np.random.default_rng(1).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8), np.arange(30) % 10


def test_cifar10_folder_and_tar(tmp_path, pictures32):
    x, y = pictures32
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    records = [cifar_record(image, label) for image, label in zip(x, y)]
    (folder / "data_batch_1.bin").write_bytes(b"".join(records[:10]))
    (folder / "data_batch_2.bin").write_bytes(b"".join(records[10:20]))
    (folder / "test_batch.bin").write_bytes(b"".join(records[20:]))
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    for source in (folder, tmp_path / "cifar-10-binary.tar.gz"):
        data = load(source)
        assert np.array_equal(data.train.raw(), x[:20])
        assert np.array_equal(data.test.labels, y[20:])
        assert data.class_names[:2] == ["airplane", "automobile"]


def test_cifar100_fine_and_coarse(tmp_path, pictures32):
    x, _ = pictures32
    fine, coarse = np.arange(200) % 100, np.arange(200) % 20
    x = np.resize(x, (200, 32, 32, 3))
    records = [cifar_record(image, c, f) for image, c, f in zip(x, coarse, fine)]
    (tmp_path / "train.bin").write_bytes(b"".join(records))
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"fine{i}" for i in range(100)))
    data = load(tmp_path, test=False)
    assert np.array_equal(data.train.labels, fine)
    assert data.class_names[99] == "fine99"
    assert np.array_equal(load(tmp_path, y_column="coarse", test=False).train.labels, coarse)


class Table:
    """What kernelearn uses of a Hugging Face dataset."""

    def __init__(self, columns, names=None):
        self._columns = columns
        feature = types.SimpleNamespace(names=names)
        self.features = {key: feature if key == "label" else object() for key in columns}
        self.column_names = list(columns)

    def __len__(self):
        return len(next(iter(self._columns.values())))

    def __getitem__(self, key):
        if isinstance(key, str):
            return self._columns[key]
        return {name: column[key] for name, column in self._columns.items()}


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


CELLS = {
    "pil": Image.fromarray,
    "undecoded": lambda image: {"bytes": png(image), "path": None},
    "lists": lambda image: image.tolist(),
}


@pytest.mark.parametrize("cell", CELLS)
def test_hugging_face_objects(images, cell):
    x, y = images
    table = Table({"image": [CELLS[cell](image) for image in x], "label": y.tolist()}, ["a", "b", "c"])
    data = load(table, test=False)
    assert np.array_equal(data.train.raw(), x)
    assert np.array_equal(data.train.labels, y)
    assert data.class_names == ["a", "b", "c"]
    parts = load({"train": table, "test": table})
    assert (len(parts.train), len(parts.test)) == (60, 60)


def test_hugging_face_columns_and_mixed_sizes(images):
    x, y = images
    pictures = [Image.fromarray(image) for image in x]
    table = Table({"photo": pictures, "species": y.tolist()})
    with pytest.raises(DataError, match=r"columns \['photo', 'species'\].*x_column"):
        load(table)
    assert load(table, x_column="photo", y_column="species").classes == 3
    pictures[7] = pictures[7].resize((3, 3))
    with pytest.raises(DataError, match=r"row 7 .* mixed sizes"):
        load(table, x_column="photo", y_column="species")
    assert load(table, x_column="photo", y_column="species", resize=4).input_shape == (4, 4, 3)


def test_hugging_face_folder_goes_through_the_library(tmp_path, images, monkeypatch):
    (tmp_path / "state.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"kernelearn\[huggingface\]"):
        load(tmp_path)
    table = Table({"image": [Image.fromarray(image) for image in images[0]], "label": images[1].tolist()})
    library = types.SimpleNamespace(load_from_disk=lambda path: table)
    monkeypatch.setitem(sys.modules, "datasets", library)
    assert len(load(tmp_path, test=False).train) == 60


def test_description_tells_the_truth(images):
    x, y = images
    x = x.copy()
    x[41] = x[3]
    data = load(
        ((x[:40], np.r_[np.zeros(36, int), 1, 1, 2, 2]), (x[40:], y[40:])), class_names=["a", "b", "c"]
    )
    text = data.describe()
    values = x[:40].reshape(-1, 3) / 255
    np.testing.assert_allclose(text.mean, values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(text.std, values.std(axis=0), rtol=1e-6)
    assert text.balance == {"train": [36, 2, 2], "test": np.bincount(y[40:]).tolist()}
    assert (text.minimum, text.maximum) == (x[:40].min() / 255, x[:40].max() / 255)
    warnings = "\n".join(text.warnings)
    assert "1 examples of the test part equal a training example" in warnings
    assert "accuracy alone will mislead" in warnings
    assert text.to_dict()["input_shape"] == [8, 6, 3]
    assert "Mean per channel" in str(text)


def test_description_is_json_and_drawn_by_rich():
    import json

    from rich.console import Console

    data = load("digits")
    assert json.loads(json.dumps(data.describe().to_dict()))["counts"] == {"train": 1438, "test": 359}
    console = Console(file=io.StringIO(), width=100)
    console.print(data.describe())
    assert "1,438 train, 359 test" in console.file.getvalue()


def test_statistics_stay_exact_far_from_zero():
    x = np.random.default_rng(0).normal(1e4, 1e-2, (300, 4, 4, 1))
    text = load((x, np.arange(300) % 2), test=False).describe()
    as_seen = x.astype(np.float32).astype(np.float64)
    assert text.std[0] == pytest.approx(as_seen.std(), rel=1e-9)


def test_sample_has_each_class_and_repeats():
    data = load("digits")
    x, y = data.sample(3, seed=5)
    assert (x.shape, y.tolist()) == ((30, 8, 8, 1), np.repeat(np.arange(10), 3).tolist())
    assert np.array_equal(x, data.sample(3, seed=5)[0])
    assert not np.array_equal(x, data.sample(3, seed=6)[0])


def test_repr_reads_nothing():
    def fail():
        raise AssertionError("the stream was read")
        yield

    assert repr(load(fail)) == "<Data stream: None train; stream, no classes>"
    assert isinstance(load("digits"), Data)


def test_gzip_is_told_by_name_not_by_content(tmp_path):
    save_idx(tmp_path / "a", np.zeros((2, 2), np.uint8))
    (tmp_path / "b.gz").write_bytes(gzip.compress((tmp_path / "a").read_bytes()))
    assert read_idx(tmp_path / "b.gz").shape == (2, 2)
