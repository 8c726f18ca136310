"""Learning curves on ways with known answers, and on a recorded training."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, layers, set_random_seed
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.explain.kernel.curves import compare_layers, learning_curves
from kernelearn.explain.kernel.filter_banks import filter_bank, filter_bank_history
from kernelearn.explain.kernel.health import kernel_health


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def test_a_straight_way_at_even_speed():
    steps = np.arange(11)
    weights = np.linspace(-1.0, 1.0, 11)[:, None, None, None, None] * np.ones((11, 3, 3, 1, 1))
    curves = learning_curves((steps, weights))
    np.testing.assert_allclose(curves.displacement, 6.0)
    np.testing.assert_allclose(curves.path, 6.0)
    np.testing.assert_allclose(curves.directness, 1.0)
    np.testing.assert_allclose(curves.speed, 0.6)
    np.testing.assert_allclose(curves.relative_change, 2.0)
    assert curves.settled.tolist() == [9]  # 10 % of the way are left
    assert curves.flipped.tolist() == [1.0]
    assert curves.sign_changes.sum() == 9  # every weight once, on its way through zero
    assert curves.cosine_to_start[-1] == pytest.approx(-1)


def test_a_way_there_and_back():
    weights = np.array([0.0, 3.0, 5.0, 3.0, 0.0])[:, None] + np.array([1.0, 2.0])
    curves = learning_curves(([0, 2, 4, 6, 8], weights))
    np.testing.assert_allclose(curves.displacement, 0)
    np.testing.assert_allclose(curves.path, 10)
    np.testing.assert_allclose(curves.directness, 0)
    np.testing.assert_allclose(curves.speed[:, 0], [1.5, 1.0, 1.0, 1.5])
    assert curves.settled.tolist() == [8, 8]


def test_filters_by_brute_force(rng):
    weights = rng.standard_normal((6, 3, 2, 2, 4))
    steps = np.array([0, 1, 3, 4, 9, 10])
    curves = learning_curves((steps, weights), tolerance=0.6)
    for f in range(4):
        way = weights[..., f].reshape(6, -1)
        distances = np.linalg.norm(way - way[-1], axis=1)
        np.testing.assert_allclose(curves.to_end[:, f], distances)
        np.testing.assert_allclose(curves.from_start[:, f], np.linalg.norm(way - way[0], axis=1))
        np.testing.assert_allclose(curves.norm[:, f], np.linalg.norm(way, axis=1))
        np.testing.assert_allclose(
            curves.cosine_to_end[:, f], way @ way[-1] / np.linalg.norm(way, axis=1) / np.linalg.norm(way[-1])
        )
        moves = np.linalg.norm(np.diff(way, axis=0), axis=1)
        np.testing.assert_allclose(curves.speed[:, f], moves / np.diff(steps))
        np.testing.assert_allclose(curves.path[f], moves.sum())
        settled = min(s for i, s in enumerate(steps) if np.all(distances[i:] <= 0.6 * distances.max()))
        assert curves.settled[f] == settled
        flips = np.diff(np.sign(way), axis=0) != 0
        np.testing.assert_array_equal(curves.sign_changes[:, f], flips.sum(axis=1))
        assert curves.flipped[f] == (way[0] * way[-1] < 0).mean()


def test_a_weight_at_zero_keeps_its_sign():
    weights = np.array([1.0, 0.0, 0.0, 2.0, 0.0, -1.0])[:, None]
    curves = learning_curves((np.arange(6), weights))
    assert curves.sign_changes[:, 0].tolist() == [0, 0, 0, 0, 1]


def test_a_frozen_filter_never_moves():
    weights = np.ones((4, 3, 3, 1, 2))
    weights[:, 0, 0, 0, 1] = [1, 2, 3, 4]
    curves = learning_curves(([0, 5, 6, 7], weights))
    assert curves.settled.tolist()[0] == 0
    assert np.isnan(curves.directness[0])
    assert curves.table()[0]["directness"] is None
    assert "How the filters of the kernel moved" in str(curves)


def test_steps_can_be_chosen(rng):
    weights = rng.standard_normal((5, 2, 2, 1, 3))
    chosen = learning_curves((np.array([0, 10, 20, 30, 40]), weights), steps=[0, 20, 40])
    np.testing.assert_array_equal(chosen.from_start, learning_curves(([0, 20, 40], weights[::2])).from_start)


def test_wrong_arguments_are_explained(rng):
    weights = rng.standard_normal((3, 2, 2, 1, 1))
    with pytest.raises(ArgumentError, match="two steps or more, in order"):
        learning_curves(([0, 2, 1], weights))
    with pytest.raises(ArgumentError, match="two steps or more"):
        learning_curves(([0], weights[:1]))
    with pytest.raises(ShapeError, match="as many weights"):
        learning_curves(([0, 1], weights))
    with pytest.raises(ArgumentError, match="tolerance"):
        learning_curves(([0, 1, 2], weights), tolerance=1.0)
    with pytest.raises(ArgumentError, match="are not among"):
        learning_curves(([0, 1, 2], weights), steps=[0, 7])


# --- a recorded training


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    recording = pytest.importorskip("kernelearn.recording")
    set_random_seed(0)  # a fixture of a module starts from what the test before it left
    rng = np.random.default_rng(0)
    x = rng.random((64, 8, 8, 1))
    y = (x[:, :4].mean(axis=(1, 2, 3)) > x[:, 4:].mean(axis=(1, 2, 3))).astype(int)
    conv = layers.Conv2D(4, 3, activation="relu", name="conv")
    depthwise = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")
    model = Sequential([Input((8, 8, 1)), conv, depthwise, layers.Flatten(), layers.Dense(2, name="dense")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    folder = tmp_path_factory.mktemp("run")
    model.fit(x, y, epochs=3, batch_size=16, verbose=0, callbacks=[recording.Recorder(folder)])
    return recording.Run(folder)


def test_curves_of_a_recorded_run(run):
    curves = learning_curves(run, "conv")
    assert curves.steps.tolist() == list(range(13))
    updates = [run.update("conv", step) for step in range(1, 13)]
    np.testing.assert_allclose(
        curves.speed, [np.linalg.norm(u.reshape(9, 4), axis=0) for u in updates], rtol=1e-6
    )
    assert (curves.displacement > 0).all()
    with pytest.raises(ArgumentError, match="which layer"):
        learning_curves(run)


def test_layers_are_compared(run):
    table = compare_layers(run)
    assert table["layer"] == run.layers
    rows = {row["layer"]: row for row in table}
    assert rows["conv"]["weights"] == 36
    assert rows["dense"]["filters"] == 2
    assert rows["dense"]["relative_change"] > 0
    assert (rows["depthwise"]["filters"], rows["depthwise"]["weights"]) == (8, 72)
    short = compare_layers(run, ["conv"], steps=[0, 6, 12])
    assert short[0]["relative_change"] == pytest.approx(rows["conv"]["relative_change"])


def test_other_explanations_read_the_run_too(run):
    history = filter_bank_history(run, "conv", samples=49)
    np.testing.assert_allclose(filter_bank(run, "conv", 12, samples=49).similarity, history.similarity[-1])
    assert kernel_health(run, "conv").norm == pytest.approx(
        np.linalg.norm(run.kernels("conv", 12).reshape(9, 4), axis=0)
    )
    images = np.random.default_rng(1).random((5, 8, 8, 1))
    assert kernel_health(run, "conv", x=images).activity.images == 5
