"""The real MNIST and CIFAR-10 files beside the project."""

import numpy as np

from kernelearn.data import load


def test_mnist10k_first_8000_and_last_2000(shared):
    data = load(shared / "mnist10k", test=2000, shuffle_split=False)
    assert (len(data.train), len(data.test), data.input_shape, data.classes) == (8000, 2000, (28, 28, 1), 10)
    assert data.train.labels[:5].tolist() == [7, 2, 1, 0, 4]
    text = data.describe()
    assert abs(text.mean[0] - 0.13) < 0.01
    assert abs(text.std[0] - 0.308) < 0.01
    assert np.bincount(load(shared / "mnist10k").test.labels).sum() == 2000


def test_cifar_zip_cached_and_lazy_give_the_same_batches(shared):
    path = shared / "cifar10-12k.zip"
    cached = load(path, validation=0.1)
    lazy = load(path, validation=0.1, cache_bytes=0)
    assert [len(part) for part in cached.parts().values()] == [9000, 1000, 2000]
    assert cached.input_shape == (32, 32, 3)
    assert np.bincount(cached.train.labels).tolist() == [900] * 10
    assert cached.fingerprint == lazy.fingerprint
    arguments = {"shuffle": True, "seed": 1, "epoch": 2, "start": 65}
    for (x, y, _), (lazy_x, lazy_y, _) in zip(
        cached.train.batches(128, **arguments), lazy.train.batches(128, **arguments), strict=True
    ):
        assert x.tobytes() == lazy_x.tobytes()
        assert y.tolist() == lazy_y.tolist()
