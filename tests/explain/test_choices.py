"""What is meant when nothing is said: the first kernel, the last ledger, what moved most, batch images."""

import numpy as np
import pytest

from kernelearn import Sequential, layers
from kernelearn.errors import ArgumentError
from kernelearn.explain import choices
from kernelearn.recording import Recorder, Run


def recorded(folder, stack, shape=(6, 6, 1), **options):
    model = Sequential([layers.Input(shape), *stack, layers.Flatten(), layers.Dense(2, name="last")])
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, *shape)).astype("float32")
    recorder = Recorder(folder, **{"kernels_every": 1, "ledger_every": 1, **options})
    model.fit(x, rng.normal(size=(12, 2)), batch_size=4, epochs=2, verbose=0, callbacks=[recorder])
    return Run(folder), x


def test_moved_most_is_the_largest_change(tmp_path):
    run, _ = recorded(tmp_path / "r", [layers.Conv2D(3, 3, name="c")])
    change = np.abs(run.kernels("c", 6).astype(float) - run.kernels("c", 0))
    found = choices.moved_most(run, "c", 4)
    values = [change[index] for index in found]
    assert values == sorted(change.ravel(), reverse=True)[:4]
    filters = choices.filters_that_moved_most(run, "c", 2)
    assert set(filters) == set(np.argsort(-np.square(change).sum(axis=(0, 1, 2)))[:2])
    with pytest.raises(ArgumentError, match="has no kernel"):
        choices.moved_most(
            recorded(tmp_path / "n", [layers.BatchNormalization(name="b")], layers="all")[0], "b"
        )


def test_first_layer_and_the_ledger_step_that_moved_most(tmp_path):
    run, _ = recorded(tmp_path / "r", [layers.Dense(2, name="mix"), layers.SeparableConv2D(2, 3, name="c")])
    assert choices.first_kernel_layer(run) == "c"
    assert choices.kernel_layers(run)["c"] == "depthwise_kernel"
    _, values = run.trace("c", (0, 0, 0, 0), "depthwise_kernel")
    moves = {k: abs(values[k] - values[k - 1]) for k in run.ledger_steps.tolist()}
    assert choices.ledger_step(run, "c", (0, 0, 0, 0), "depthwise_kernel") == max(moves, key=moves.get)
    assert choices.is_convolution(run, "c") and not choices.is_convolution(run, "mix")
    run, _ = recorded(tmp_path / "d", [], ledger_every=0)
    assert choices.first_kernel_layer(run) == "last"
    with pytest.raises(ArgumentError, match="no ledger"):
        choices.ledger_step(run, "last", (0, 0), "kernel")


def test_images_of_a_batch_are_what_the_network_got(tmp_path):
    run, x = recorded(tmp_path / "r", [layers.Conv2D(3, 3, name="c")])
    images = run.batch(5).images
    np.testing.assert_array_equal(choices.batch_images(run, 5), x[images])
    find = choices.by_number(choices.batch_images(run, 5), images)
    np.testing.assert_array_equal(find(images[2]), x[images[2]])
    assert choices.by_number(None, images) is None


def test_images_of_a_batch_are_those_that_augmentation_gave(tmp_path):
    run, x = recorded(tmp_path / "r", [layers.RandomTranslation(0.4, 0.4), layers.Conv2D(3, 3, name="c")])
    found = choices.batch_images(run, 5)
    np.testing.assert_array_equal(found, run.ledger("c", 5).x)
    assert not np.array_equal(found, x[run.batch(5).images])


def test_images_are_not_known_above_the_first_layer(tmp_path):
    stack = [layers.Conv2D(3, 3, name="c"), layers.Conv2D(2, 3, name="d")]
    run, _ = recorded(tmp_path / "r", stack, layers=["d"])
    assert choices.batch_images(run, 5) is None


@pytest.mark.parametrize("count", [2, 3, 10, 100])
def test_some_steps_have_both_ends(count):
    steps = np.arange(0, 200, 4)
    found = choices.some_steps(steps, count)
    assert len(found) == min(count, 50) and found[0] == 0 and found[-1] == 196
    assert set(found) <= set(steps)
