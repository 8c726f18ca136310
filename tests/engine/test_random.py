"""The random numbers of a step: published vectors of the generator, ranges, moments, separate streams."""

import numpy as np
import pytest

from kernelearn.engine.reference import random

# counter, key, result: kat_vectors of the Random123 library, "philox4x32 10".
VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def _words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_philox_known_answers(counter, key, expected):
    words = random.philox(tuple(np.array([w], np.uint64) for w in _words(counter)), tuple(_words(key)))
    assert [int(w[0]) for w in words] == _words(expected)


def test_the_words_of_a_step_are_those_of_its_counter():
    bits = random.random_bits(7, seed=5, step=2**33 + 9, stream=3)
    for block in range(2):
        counter = tuple(np.array([w], np.uint64) for w in (block, 0, 9, 2))
        expected = [int(w[0]) for w in random.philox(counter, (5, 3))]
        assert [int(b) for b in bits[4 * block : 4 * block + 4]] == expected[: len(bits) - 4 * block]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniforms_are_uniform(dtype):
    u = random.uniforms((200, 500), 1, 2, 3, dtype)
    assert u.dtype == dtype and u.min() >= 0 and u.max() < 1
    # NOTE: five standard errors of the mean and of a share of ten per cent.
    assert u.mean() == pytest.approx(0.5, abs=5 * np.sqrt(1 / 12 / u.size))
    counts = np.histogram(u, bins=10, range=(0, 1))[0] / u.size
    np.testing.assert_allclose(counts, 0.1, atol=5 * np.sqrt(0.09 / u.size))


def test_both_float_types_draw_the_same_numbers():
    np.testing.assert_array_equal(
        random.uniforms((99,), 1, 2, 3, "float32"), random.uniforms((99,), 1, 2, 3, "float64")
    )


@pytest.mark.parametrize("count", [1, 2, 3, 99_999])
def test_normals_have_the_right_shape_and_moments(count):
    z = random.normals((count,), 4, 5, 6, "float64")
    assert z.shape == (count,) and np.isfinite(z).all()
    if count > 3:
        assert z.mean() == pytest.approx(0, abs=5 / np.sqrt(count))
        assert z.var() == pytest.approx(1, abs=5 * np.sqrt(2 / count))
        assert (z**4).mean() == pytest.approx(3, abs=5 * np.sqrt(96 / count))


@pytest.mark.parametrize("change", [{"seed": 2}, {"step": 2}, {"stream": 2}, {"step": 1 + 2**32}])
def test_seed_step_and_stream_each_give_other_numbers(change):
    base = {"seed": 1, "step": 1, "stream": 1}
    first, other = random.uniforms((10_000,), **base), random.uniforms((10_000,), **{**base, **change})
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.05
    np.testing.assert_array_equal(first, random.uniforms((10_000,), **base))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(rate):
    x = np.ones((100, 1000), "float32")
    y, mask = random.dropout(x, 1, 1, rate=rate, stream=1, noise_shape=None)
    np.testing.assert_array_equal(y, mask)
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - rate)], rtol=1e-6)
    assert (y == 0).mean() == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / x.size))


def test_dropout_of_everything_and_shared_decisions():
    x = np.ones((4, 5, 6, 3))
    np.testing.assert_array_equal(random.dropout(x, 1, 1, rate=1.0, stream=1, noise_shape=None)[0], 0)
    y, mask = random.dropout(x, 1, 1, rate=0.5, stream=1, noise_shape=(None, 1, 1, None))
    assert mask.shape == (4, 1, 1, 3)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))


def test_random_uniform_draws_per_image_in_its_range():
    draw = random.random_uniform(np.zeros((500, 2)), 1, 1, shape=(3,), low=-2.0, high=5.0, stream=1)
    assert draw.shape == (500, 3) and draw.min() >= -2 and draw.max() < 5
    assert draw.mean() == pytest.approx(1.5, abs=0.3)


def test_a_smaller_batch_draws_the_same_for_its_images():
    """The last, smaller batch of an epoch differs from a full one only in its length."""
    full = random.random_uniform(np.zeros((8, 2)), 1, 1, shape=(3,), low=0.0, high=1.0, stream=1)
    part = random.random_uniform(np.zeros((5, 2)), 1, 1, shape=(3,), low=0.0, high=1.0, stream=1)
    np.testing.assert_array_equal(full[:5], part)
