"""The fingerprint of data: any change of any byte moves it, and nothing else does."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from kernelearn.data import as_dataset, load, save_image_folder
from kernelearn.data.fingerprint import is_same_data, why_not_comparable


def test_every_single_value_of_a_large_array_counts():
    x = np.zeros((4000, 6, 6, 1), np.float32)  # more rows than any sample of rows would look at
    before = as_dataset(x, np.zeros(4000, int)).fingerprint
    for row in (1, 7, 1999, 3998):
        x[row, 5, 5, 0] = 1e-30
        assert as_dataset(x, np.zeros(4000, int)).fingerprint != before
        x[row, 5, 5, 0] = 0
    assert as_dataset(x, np.zeros(4000, int)).fingerprint == before


def test_values_beyond_the_first_piece_count(monkeypatch):
    monkeypatch.setattr("kernelearn.data.fingerprint._PIECE", 64)
    x = np.arange(1000, dtype=np.float64).reshape(100, 10)
    pieces = as_dataset(x, np.arange(100)).fingerprint
    monkeypatch.undo()
    assert as_dataset(x, np.arange(100)).fingerprint == pieces  # how it is cut up does not count
    x[-1, -1] += 1
    assert as_dataset(x, np.arange(100)).fingerprint != pieces


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y, w: (x.astype(np.float64), y, w),
        lambda x, y, w: (x[:-1], y[:-1], w[:-1]),
        lambda x, y, w: (x[::-1], y, w),
        lambda x, y, w: (x.reshape(30, 4, 6, 2), y, w),
        lambda x, y, w: (x, np.where(np.arange(30) == 29, 0, y), w),
        lambda x, y, w: (x, y.astype(np.float32), w),
        lambda x, y, w: (x, y, None),
        lambda x, y, w: (x, y, np.where(np.arange(30) == 17, 2.0, w)),
        lambda x, y, w: (x, None, w),
        lambda x, y, w: ({"a": x}, y, w),
        lambda x, y, w: ([x, x], y, w),
        lambda x, y, w: (x, {"out": y}, w),
    ],
)
def test_any_change_moves_it(change):
    x = np.random.default_rng(3).normal(size=(30, 6, 8, 1)).astype(np.float32)
    y, w = 1 + np.arange(30) % 3, np.ones(30)
    before = as_dataset(x, y, w).fingerprint
    assert as_dataset(x.copy(), y.copy(), w.copy()).fingerprint == before
    assert as_dataset(*change(x, y, w)).fingerprint != before


def test_a_subset_has_the_fingerprint_of_the_same_examples_alone():
    x, y = np.random.default_rng(0).normal(size=(50, 5)), np.arange(50)
    rows = np.array([3, 41, 7, 7, 12])
    assert as_dataset(x, y).subset(rows).fingerprint == as_dataset(x[rows], y[rows]).fingerprint


def test_labels_of_weights_are_not_mistaken():
    x, a, b = np.zeros((4, 2)), np.arange(4.0), np.ones(4)
    assert as_dataset(x, a, b).fingerprint != as_dataset(x, b, a).fingerprint


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".png", ".tif"])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_pixels_of_pictures_count_where_names_and_sizes_stay(tmp_path, images, suffix, cache_bytes):
    x, y = images
    save_image_folder(tmp_path / "d", x, y, ["a", "b", "c"], suffix)
    before = load(tmp_path / "d", cache_bytes=cache_bytes).fingerprint
    assert load(tmp_path / "d", cache_bytes=cache_bytes).fingerprint == before
    picture = sorted((tmp_path / "d" / "b").iterdir())[-1]
    changed = np.asarray(Image.open(picture)).copy()
    changed[-1, -1] ^= 1
    Image.fromarray(changed).save(picture)
    assert load(tmp_path / "d", cache_bytes=cache_bytes).fingerprint != before


def test_the_same_pictures_in_a_zip_and_decoded_batch_by_batch(tmp_path, image_folder, zipped):
    packed = zipped(image_folder, tmp_path / "other.zip", "inside/")
    prints = {
        load(source, cache_bytes=size).fingerprint
        for source in (image_folder, packed)
        for size in (0, 1 << 30)
    }
    assert len(prints) == 1


def test_resizing_and_channels_count(image_folder):
    prints = [load(image_folder, **how).fingerprint for how in ({}, {"resize": 7}, {"channels": 1})]
    assert len(set(prints)) == 3


def test_names_of_classes_count(tmp_path, images):
    x, y = images
    prints = set()
    for number, names in enumerate((["a", "b", "c"], ["a", "b", "d"])):
        save_image_folder(tmp_path / str(number), x, y, names)
        prints.add(load(tmp_path / str(number)).fingerprint)
    assert len(prints) == 2


def test_one_changed_member_of_a_large_zip(tmp_path):
    def packed(name, last):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for number in range(600):
                buffer = io.BytesIO()
                value = last if number == 599 else number % 256
                Image.fromarray(np.full((2, 2), value, np.uint8)).save(buffer, "BMP")
                archive.writestr(f"{'ab'[number % 2]}/{number:03d}.bmp", buffer.getvalue())
        return load(tmp_path / name).fingerprint

    assert packed("x.zip", 1) == packed("y.zip", 1) != packed("z.zip", 2)


def test_a_mapped_file_has_the_fingerprint_of_its_values(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(40, 4, 4, 1)), np.arange(40) % 2
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    mapped = load((str(tmp_path / "x.npy"), str(tmp_path / "y.npy")), test=False)
    assert mapped.fingerprint == load((x, y), test=False).fingerprint


def test_streams_have_none():
    stream = load(lambda: iter([(np.zeros((2, 4, 4, 1)), np.array([0, 1]))]))
    assert stream.train.fingerprint == stream.fingerprint == "stream"
    assert is_same_data("stream", "stream") is None
    assert "stream" in why_not_comparable("stream")


def test_prints_of_another_rule_cannot_be_compared():
    now = as_dataset(np.zeros((2, 2)), [0, 1]).fingerprint
    assert is_same_data(now, now) is True
    assert is_same_data(now, now[:-1] + ("1" if now[-1] == "0" else "0")) is False
    assert is_same_data("5b28880997242f433a5a6f1c0739b720", now) is None
    assert "another version" in why_not_comparable("5b28880997242f433a5a6f1c0739b720")


def test_the_rule_itself_stays():
    """Runs that were recorded compare with it: whoever changes the rule counts VERSION up."""
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4, 1)
    assert as_dataset(x, [0, 1]).fingerprint == "2-2e004999ceee2fb5c395a1ad940d3db6"
