"""The PNG reader that travels with an exported predictor, against Pillow and the library's own reader."""

import numpy as np
import pytest

from kernelearn.conversion.standalone import runtime

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (13, 11, 4), np.uint8)
SMOOTH = np.add.outer(np.arange(13), 3 * np.arange(11)).astype(np.uint8)[..., None] + np.arange(
    4, dtype=np.uint8
)
MODES = {"L": (slice(0, 1)), "RGB": slice(0, 3), "RGBA": slice(0, 4), "LA": slice(0, 2)}


def written(path, pixels, mode, **options):
    image = Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode if mode == "LA" else None)
    image.save(path, **options)
    return runtime.read_png(path, path.read_bytes())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pixels", [PIXELS, SMOOTH], ids=["noise", "smooth"])
@pytest.mark.filterwarnings("ignore:'mode' parameter")
def test_eight_bits(tmp_path, mode, pixels):
    """Smooth pictures make Pillow choose every filter."""
    own = np.ascontiguousarray(pixels[..., MODES[mode]])
    np.testing.assert_array_equal(written(tmp_path / "a.png", own, mode, optimize=True), own)


def test_few_colours_and_few_bits(tmp_path):
    grey = Image.fromarray(PIXELS[..., 0])
    for picture in (grey.convert("1"), Image.fromarray(PIXELS[..., :3]).quantize(5)):
        picture.save(tmp_path / "a.png")
        found = runtime.to_channels(runtime.read_png("a", (tmp_path / "a.png").read_bytes()), 3)
        np.testing.assert_array_equal(found, np.asarray(picture.convert("RGB")))


def test_sixteen_bits(tmp_path):
    values = RNG.integers(0, 65536, (5, 7), np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    found = runtime.read_png("a", (tmp_path / "a.png").read_bytes())
    np.testing.assert_allclose(found[..., 0], values / 65535)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_channels_are_those_of_pillow(mode, channels):
    own = np.ascontiguousarray(PIXELS[..., MODES[mode]])
    image = Image.fromarray(own[..., 0] if mode == "L" else own)
    expected = np.asarray(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])).reshape(13, 11, channels)
    np.testing.assert_array_equal(runtime.to_channels(own, channels), expected)


def test_damage_is_an_error_of_one_kind(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    for at in range(8, len(content) - 12, 7):
        damaged = bytearray(content)
        damaged[at] ^= 0x55
        with pytest.raises(ValueError, match=r"damaged|Pillow"):
            runtime.read_png("a.png", bytes(damaged))
        with pytest.raises(ValueError, match=r"damaged|Pillow"):
            runtime.read_png("a.png", content[:at])
