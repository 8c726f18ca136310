"""Dead, duplicate and redundant kernels: planted ones are found, by weights and on data."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, config, layers
from kernelearn.data import as_dataset
from kernelearn.errors import ArgumentError
from kernelearn.explain.kernel.activity import channel_activity
from kernelearn.explain.kernel.health import kernel_health
from kernelearn.explain.sight.maps import feature_maps


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def test_planted_kernels_are_found(rng):
    kernel = rng.standard_normal((3, 3, 2, 6))
    kernel[..., 1] = 0
    kernel[..., 3] = -2 * kernel[..., 0]
    kernel[..., 5] = kernel[..., 2] + kernel[..., 4]
    found = kernel_health(kernel)
    assert found.dead.tolist() == [False, True, False, False, False, False]
    assert found.duplicate_of.tolist() == [-1, -1, -1, 0, -1, -1]
    assert (found.nearest[3], found.cosine[3]) == (0, pytest.approx(-1.0))
    assert found.redundant.tolist() == [True, False, True, True, True, True]
    assert found.rank == 3
    text = str(found)
    assert "6 filters in 18 dimensions: 1 dead, 1 duplicate, 5 redundant; rank 3" in text
    assert found.table()["duplicate_of"] == [None, None, None, 0, None, None]


def test_a_nearly_silent_kernel_is_dead(rng):
    kernel = rng.standard_normal((3, 3, 1, 5))
    kernel[..., 2] *= 1e-5
    assert np.flatnonzero(kernel_health(kernel).dead_weights).tolist() == [2]
    assert not kernel_health(kernel, dead_norm=1e-7).dead_weights.any()
    assert kernel_health(np.zeros((3, 3, 1, 2))).dead.all()


def test_own_shares_by_least_squares(rng):
    kernel = rng.standard_normal((3, 3, 1, 5))
    found = kernel_health(kernel)
    flat = kernel.reshape(9, 5)
    for f in range(5):
        others = np.delete(flat, f, axis=1)
        rest = flat[:, f] - others @ np.linalg.lstsq(others, flat[:, f], rcond=None)[0]
        assert found.own_share[f] == pytest.approx((rest @ rest) / (flat[:, f] @ flat[:, f]), rel=1e-6)


def test_more_kernels_than_dimensions_are_redundant(rng):
    found = kernel_health(rng.standard_normal((3, 3, 1, 20)))
    assert found.rank == 9
    assert found.redundant.all()
    assert found.own_share.max() == 0


def test_orthogonal_kernels_share_the_energy():
    found = kernel_health(np.eye(9).reshape(3, 3, 1, 9))
    assert found.effective_rank == pytest.approx(9)
    assert (found.own_share == pytest.approx(1.0)) and not found.redundant.any()
    assert found.nearest.tolist() == [-1] * 9


def network():
    """Kernel 0 sees, 1 never opens, 2 repeats 0 on a smaller scale, 3 looks at something else."""
    config.set_floatx("float64")
    conv = layers.Conv2D(4, 2, name="conv")
    model = Sequential(
        [Input((6, 5, 1)), conv, layers.BatchNormalization(name="norm"), layers.ReLU(name="relu")]
    )
    kernel = np.random.default_rng(1).standard_normal((2, 2, 1, 4))
    kernel[..., 2] = kernel[..., 0] * 0.5
    conv.set_weights([kernel, np.array([0.0, -100.0, 0.0, 0.0])])
    return model


def test_kernels_that_never_open_are_dead_on_data(rng):
    found = kernel_health(network(), "conv", x=rng.standard_normal((30, 6, 5, 1)))
    assert found.dead_on_data.tolist() == [False, True, False, False]
    assert not found.dead_weights.any()
    assert found.dead.tolist() == [False, True, False, False]
    assert found.same_map_as.tolist() == [-1, -1, 0, -1]
    assert found.activity.active[1] == 0
    table = found.table()
    assert table[1]["active"] == 0
    assert table[2]["same_map_as"] == 0


def test_activity_by_brute_force(rng):
    model, x = network(), rng.standard_normal((10, 6, 5, 1))
    found = channel_activity(model, "conv", as_dataset(x), batch_size=3)
    maps = feature_maps(model, x, "relu")["relu"]
    flat = maps.reshape(-1, 4)
    np.testing.assert_allclose(found.smallest, flat.min(axis=0))
    np.testing.assert_allclose(found.largest, flat.max(axis=0))
    np.testing.assert_allclose(found.mean, flat.mean(axis=0))
    np.testing.assert_allclose(found.active, (flat > 0).mean(axis=0))
    np.testing.assert_allclose(found.active_images, (maps > 0).any(axis=(1, 2)).mean(axis=0))
    alive = [0, 2, 3]
    np.testing.assert_allclose(
        found.correlation[np.ix_(alive, alive)], np.corrcoef(flat[:, alive].T), atol=1e-12
    )
    np.testing.assert_array_equal(found.correlation[1], 0)
    assert found.images == 10


def test_activity_can_stay_before_the_activation(rng):
    model, x = network(), rng.standard_normal((5, 6, 5, 1))
    plain = channel_activity(model, "conv", x, follow=False)
    np.testing.assert_allclose(plain.smallest, feature_maps(model, x, "conv")["conv"].min(axis=(0, 1, 2)))
    assert plain.smallest[0] < 0


def test_wrong_arguments_are_explained(rng):
    with pytest.raises(ArgumentError, match="needs the whole model"):
        kernel_health(np.ones((3, 3, 1, 1)), x=np.ones((1, 5, 5, 1)))
    with pytest.raises(ArgumentError, match="similarity"):
        kernel_health(np.ones((3, 3, 1, 1)), similarity=0)
