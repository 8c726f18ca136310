"""Ledgers of recorded runs: the same numbers as in the step that was recorded."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, config, explain, optimizers
from kernelearn import layers as L
from kernelearn.errors import ArgumentError, UnknownNameError
from tests.explain.layer_grid import some_indices
from tests.explain.training_runs import OPTIMIZERS, data, run_with, small_network, train


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-6), ("float64", 1e-13)])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ledgers_sum_to_the_recorded_gradient_whatever_the_optimiser(name, dtype, bound):
    run = run_with(name, dtype, dtype == "float64")
    for layer in ("conv", "dense"):
        for step in run.ledger_steps[[0, 3, -1]]:
            gradient = run.gradient(layer, step)
            for index in some_indices(gradient.shape, 2, seed=int(step)):
                book = explain.ledger(run, layer, int(step), weight=index)
                assert book.relative_residual < bound and book.gradient == float(gradient[index])
            bias = explain.ledger(run, layer, int(step), weight=("bias", 1))
            assert bias.relative_residual < bound
            assert bias.gradient == float(run.gradient(layer, step, "bias")[1])


def test_images_labels_and_inputs_are_those_of_the_data():
    run = run_with("sgd")
    x, y = data()
    book = explain.ledger(run, "conv", 3, weight=(1, 2, 0, 1))
    assert book.images[::9].tolist() == run.batch(3).images.tolist()
    np.testing.assert_array_equal(book.labels, y[book.images])
    rows, columns = book.pixels.T
    np.testing.assert_array_equal(book.inputs, x[book.images, rows, columns, 0].astype(float))
    assert set(book.by_class().keys) <= {0, 1, 2} and book.step == 3 and book.layer == "conv"
    for c in book.top(2, images=x):
        np.testing.assert_array_equal(c.crop, c.window)  # the first layer sees what it reads


def test_batch_normalisation_is_told():
    assert explain.ledger(run_with("sgd"), "conv", 1, weight=(0, 0, 0, 0)).mixes_images is False
    stack = [L.Conv2D(2, 3, name="conv"), L.BatchNormalization(), L.Flatten()]
    model = Sequential([Input((7, 7, 1)), *stack, L.Dense(3, activation="softmax", name="dense")])
    book = explain.ledger(train(model, "sgd"), "conv", 2, weight=(0, 0, 0, 0))
    assert book.mixes_images is True and "BatchNormalization" in str(book)
    assert book.relative_residual < 1e-6


def test_a_separable_layer_has_two_kernels_and_one_bias():
    stack = [L.SeparableConv2D(4, 3, depth_multiplier=2, name="conv"), L.Activation("tanh"), L.Flatten()]
    before = config.floatx()
    config.set_floatx("float64")
    model = Sequential([Input((7, 7, 1)), *stack, L.Dense(3, activation="softmax", name="dense")])
    config.set_floatx(before)
    run = train(model, optimizers.Adam(0.01))
    for weight in [("depthwise_kernel", 0, 1, 0, 1), ("pointwise_kernel", 0, 0, 1, 3), ("bias", 2)]:
        book = explain.ledger(run, "conv", 2, weight=weight)
        assert book.relative_residual < 1e-13 and book.weight == weight[0]
        past = explain.history(run, "conv", weight)
        assert past.is_exact and past.covered == pytest.approx(1)
    assert explain.update_split(run, "conv", 2, "pointwise_kernel").is_exact
    with pytest.raises(UnknownNameError, match="depthwise_kernel, pointwise_kernel"):
        explain.ledger(run, "conv", 2, weight=(0, 0, 0, 0))


def test_a_penalty_on_the_bias_is_told_apart():
    run = train(small_network(bias_regularizer="l1", bias_initializer="ones"), "sgd")
    book = explain.ledger(run, "conv", 2, weight=("bias", 1))
    assert book.penalty == pytest.approx(0.01) and book.relative_residual < 1e-6
    past = explain.history(run, "conv", ("bias", 1))
    assert past.is_exact and past.totals["penalty"] == pytest.approx(-8 * 0.01 * 0.01)


def test_the_recorded_step_is_the_one_of_the_live_model():
    """Factors of a live model before a step are those that the recorder saw in it."""
    config.set_random_seed(3)
    model = small_network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    start = model.get_weights()
    run = train(model, "sgd", epochs=1)
    images = run.batch(1).images
    model.set_weights(start)
    x, y = data()
    live = explain.factors_of(model, x[images], y[images], "conv", images=images)
    recorded = run.ledger("conv", 1)
    np.testing.assert_array_equal(live.x, recorded.x)
    np.testing.assert_array_equal(live.delta, recorded.delta)
    np.testing.assert_array_equal(live.gradient, recorded.gradient)


def test_messages():
    run = train(small_network(), "sgd", ledger_every=3)
    with pytest.raises(ArgumentError, match="Step 2"):
        explain.ledger(run, "conv", 2, weight=(0, 0, 0, 0))
    with pytest.raises(ArgumentError, match="layer= and step="):
        explain.ledger(run, "conv", weight=(0, 0, 0, 0))


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_terms_of_mixed_precision_are_products_of_rounded_factors(engine):
    config.set_random_seed(3)
    model = small_network()
    model.compile("sgd", "sparse_categorical_crossentropy", policy="mixed_bfloat16", engine=engine)
    run = train(model)
    for layer in ("conv", "dense"):
        gradient = run.gradient(layer, 2)
        for index in some_indices(gradient.shape, 2, seed=1):
            assert explain.ledger(run, layer, 2, weight=index).relative_residual < 1e-6
        whole = explain.gradient_of(run.ledger(layer, 2))
        np.testing.assert_allclose(whole, gradient, rtol=0, atol=1e-6 * np.abs(gradient).max())
