"""Looking at a data set takes memory for a piece of it, however large the images are."""

import tracemalloc

import numpy as np

from kernelearn.data import load
from kernelearn.data.describe import channel_statistics


def test_statistics_are_taken_piece_by_piece():
    x = np.random.default_rng(0).random((6, 1000, 700, 3), dtype=np.float32)
    data = load((x, np.arange(6) % 2), test=False).train
    tracemalloc.start()
    mean, std, low, high = channel_statistics(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 8 * (1 << 20)  # some copies of a piece in float64, where all of x would be 100 MB
    flat = x.reshape(-1, 3).astype(np.float64)
    assert np.allclose(mean, flat.mean(axis=0), rtol=1e-12)
    assert np.allclose(std, flat.std(axis=0), rtol=1e-12)
    assert (low, high) == (x.min(), x.max())
