"""Pictures of more than 8 bits per value: no bit is lost, whatever the format, or a message says why not."""

import io

import numpy as np
import pytest
from PIL import Image

from kernelearn.data import load, load_image
from kernelearn.errors import DataError
from tests.data.picture_bytes import png, tiff

RNG = np.random.default_rng(7)


def values_of(bands, height=5, width=7):
    return RNG.integers(0, 65536, (height, width, bands))


def shown(content, channels, size=(5, 7)):
    return load_image(content, (*size, channels)).astype(np.float64)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_sixteen_bit_png_is_exact(bands):
    values = values_of(bands)
    colours = 1 if bands < 3 else 3
    exact = (values[..., :colours] / 65535).astype(np.float32)
    assert np.array_equal(load_image(png(values), (5, 7, colours)), exact)


@pytest.mark.parametrize("bands", [2, 4])
def test_transparency_of_sixteen_bits(bands):
    values = values_of(bands)
    got = load_image(png(values), (5, 7, 4))
    assert np.array_equal(got[..., 3], (values[..., -1] / 65535).astype(np.float32))
    assert np.array_equal(got[..., 0], (values[..., 0] / 65535).astype(np.float32))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bands", [1, 3])
def test_sixteen_bit_tiff_is_exact_in_both_byte_orders(order, bands):
    values = values_of(bands)
    assert np.array_equal(load_image(tiff(values, order), (5, 7, bands)), (values / 65535).astype(np.float32))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_packed_tiff(compression):
    values = values_of(1)[..., 0].astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF", compression=compression)
    assert np.array_equal(shown(buffer.getvalue(), 1)[..., 0], (values / 65535).astype(np.float32))


def test_a_tiff_that_counts_from_white():
    values = values_of(1)
    assert np.abs(shown(tiff(values, photometric=0), 1) - (1 - values / 65535)).max() < 1e-7


@pytest.mark.parametrize("maximum", [256, 1000, 4095, 65535])
@pytest.mark.parametrize("kind", [b"P2", b"P3", b"P5", b"P6"])
def test_pnm_of_any_maximum(maximum, kind):
    bands = 3 if kind in (b"P3", b"P6") else 1
    values = RNG.integers(0, maximum + 1, (5, 7, bands))
    head = kind + b"\n# a comment\n7 5\n%d\n" % maximum
    text = b"# another\n" + b" ".join(b"%d" % value for value in values.ravel())
    content = head + (text if kind in (b"P2", b"P3") else values.astype(">u2").tobytes())
    assert np.array_equal(load_image(content, (5, 7, bands)), (values / maximum).astype(np.float32))


def test_pnm_damage():
    values = np.full((5, 7), 300)
    content = b"P5 7 5 299\n" + values.astype(">u2").tobytes()
    for bad in (content, content.replace(b"299", b"300")[:-1], b"P2 7 5 300\n1 2 x", b"P2 7 5 300\n1 2 3"):
        with pytest.raises(DataError, match="damaged or truncated"):
            load_image(bad, (5, 7, 1))


def saved_tiff(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    return buffer.getvalue()


def test_floating_point_tiff():
    values = RNG.random((5, 7), dtype=np.float32)
    assert np.array_equal(load_image(saved_tiff(values), (5, 7, 1))[..., 0], values)
    for factor, offset in ((255, 0), (1, -0.5), (np.nan, 0)):
        with pytest.raises(DataError, match=r"expected values in \[0, 1\]"):
            load_image(saved_tiff(values * np.float32(factor) + np.float32(offset)), (5, 7, 1))


def test_whole_numbers_of_32_bits_are_refused():
    with pytest.raises(DataError, match=r"32 bits.*Scale"):
        load_image(saved_tiff(np.arange(35, dtype=np.int32).reshape(5, 7)), (5, 7, 1))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bands", [1, 3])
def test_deep_and_shallow_pictures_are_turned_alike(orientation, bands):
    values = RNG.integers(0, 256, (5, 7, bands))
    size = (7, 5) if orientation > 4 else (5, 7)
    tags = Image.Exif()
    tags[0x0112] = orientation
    buffer = io.BytesIO()
    shallow = values.astype(np.uint8)
    Image.fromarray(shallow[..., 0] if bands == 1 else shallow).save(buffer, "PNG", exif=tags)
    one = load_image(buffer.getvalue(), (*size, bands))
    other = load_image(png(values * 257, orientation), (*size, bands))
    assert np.abs(one - other).max() < 1e-7


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resizing_and_changing_channels(channels):
    values = np.random.default_rng(channels).integers(128, 256, (12, 12, 4))
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(buffer, "PNG")
    shallow = load_image(buffer.getvalue(), (5, 6, channels), resize=True)
    deep = load_image(png(values * 257), (5, 6, channels), resize=True)
    # NOTE: the shallow one is rounded to 8 bits when it is weighted by its transparency, and again behind.
    assert np.abs(shallow - deep).max() < 3.5 / 255


def folder_of(tmp_path, contents):
    for number, (suffix, content) in enumerate(contents):
        place = tmp_path / "d" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.{suffix}").write_bytes(content)
    return tmp_path / "d"


def test_one_deep_picture_makes_the_set_one_of_floats(tmp_path):
    values = values_of(1)
    buffer = io.BytesIO()
    Image.fromarray(np.full((5, 7), 100, np.uint8)).save(buffer, "PNG")
    folder = folder_of(tmp_path, [("png", png(values)), ("png", buffer.getvalue())])
    cached, lazy = (load(folder, test=False, cache_bytes=size) for size in (1 << 30, 0))
    assert cached.train.dtype == lazy.train.dtype == np.float32
    assert cached.fingerprint == lazy.fingerprint
    for data in (cached, lazy):
        x, _ = data.train.arrays()
        assert np.array_equal(x[0], (values / 65535).astype(np.float32))
        assert np.array_equal(x[1], np.full((5, 7, 1), 100, np.float32) / np.float32(255))
        assert "float32" in str(data.describe())


def test_a_picture_is_the_same_alone_and_in_a_set(tmp_path):
    contents = [("png", png(values_of(3))), ("tif", tiff(values_of(3), ">"))]
    folder = folder_of(tmp_path, contents)
    x, _ = load(folder, test=False).train.arrays()
    for image, (_, content) in zip(x, contents):
        assert np.array_equal(image, load_image(content, (5, 7, 3)))


def test_what_pillow_cannot_give_whole_is_refused(monkeypatch):
    monkeypatch.setattr("kernelearn.data.deep_images._pillow_keeps_bytes", lambda: False)
    with pytest.raises(DataError, match=r"16-bit values.*Scale"):
        load_image(png(values_of(3)), (5, 7, 3))
