"""Batch normalisation by the statistics of the whole batch, in shards: as without them, and the same bits."""

import threading

import numpy as np
import pytest

import kernelearn as kl
from kernelearn import layers, optimizers
from kernelearn.engine.program import ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError
from kernelearn.training.steps.synchronizing import synchronized
from tests.parallel import threads

pytestmark = pytest.mark.filterwarnings("ignore:.* processes share .* shards")
ROWS = 28
X = np.random.default_rng(0).normal(size=(ROWS, 6, 6, 2)).astype("float32") * [1.0, 40.0] + [0.5, 300.0]
Y = np.arange(ROWS) % 3
lock = threading.Lock()


def model_of(synchronized=True, **options):
    kl.set_random_seed(1)
    return kl.Sequential(
        [
            layers.Input((6, 6, 2)),
            layers.BatchNormalization(synchronized=synchronized, scale=False, **options),
            layers.Conv2D(4, 3, use_bias=False),
            layers.BatchNormalization(synchronized=synchronized, center=False),
            layers.ReLU(),
            layers.BatchNormalization(synchronized=synchronized, momentum=0.9),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def fitted(model, shards, optimizer=None, batch_size=12, **options):
    loss = kl.losses.SparseCategoricalCrossentropy(from_logits=True, **options)
    model.compile(optimizer or optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"], shards=shards)
    history = model.fit(X, Y, batch_size=batch_size, epochs=2, verbose=0, seed=3)
    return model, history.history


def check_same_training(make, shards, optimizer=None, **options):
    """In float64: what is left is rounding."""
    kl.config.set_floatx("float64")
    whole, history = fitted(make(), None, optimizer and optimizer(), **options)
    parts, same = fitted(make(), shards, optimizer and optimizer(), **options)
    for one, other in zip(whole.get_weights(), parts.get_weights()):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(history["loss"], same["loss"], rtol=1e-9)


@pytest.mark.parametrize("shards", [2, 5, 12, 40])
def test_it_trains_as_on_whole_batches(shards):
    """Five: shards of unequal size; forty: some are empty; the last batch is short."""
    check_same_training(model_of, shards)


@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size"])
def test_reductions(reduction):
    check_same_training(model_of, 5, lambda: optimizers.SGD(0.001), reduction=reduction)


def test_channels_first_and_dense():
    def make():
        kl.set_random_seed(1)
        first = layers.BatchNormalization(axis=1, synchronized=True)
        dense = [layers.Dense(5), layers.BatchNormalization(synchronized=True), layers.Dense(3)]
        return kl.Sequential([layers.Input((6, 6, 2)), first, layers.Flatten(), *dense])

    check_same_training(make, 5)


def test_a_shared_layer_and_one_that_is_not_synchronized():
    def make():
        kl.set_random_seed(1)
        x = layers.Input((6, 6, 2))
        shared = layers.BatchNormalization(synchronized=True)
        y = layers.Conv2D(2, 1)(shared(x))
        return kl.Model(x, layers.Dense(3)(layers.Flatten()(shared(y))))

    check_same_training(make, 5)


def test_without_it_statistics_are_others():
    """Or the tests above would not see that nothing is exchanged."""
    kl.config.set_floatx("float64")
    whole, parts = fitted(model_of(False), None)[0], fitted(model_of(False), 5)[0]
    assert not np.allclose(whole.get_weights()[-2], parts.get_weights()[-2], atol=1e-4)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_processes_change_no_bit(size):
    alone = bits(*fitted(model_of(), 6))

    def work():
        with lock:
            model = model_of()
            model.compile("sgd", kl.losses.SparseCategoricalCrossentropy(from_logits=True), shards=6)
        return bits(*fitted(model, 6))

    assert threads.as_processes(size, work) == [alone] * size


def bits(model, history):
    return b"".join(array.tobytes() for array in model.get_weights()), history


@pytest.mark.parametrize("count", [2, 3])
def test_threads_change_no_bit(count):
    kl.set_num_threads(1)
    alone = bits(*fitted(model_of(), 6))
    kl.set_num_threads(count)
    assert bits(*fitted(model_of(), 6)) == alone


def test_buffers_of_a_step_are_those_of_the_whole_batch():
    found = {}
    for shards in (None, 5):
        model = model_of()
        model.compile("sgd", kl.losses.SparseCategoricalCrossentropy(from_logits=True), shards=shards)
        batch = model.batch_of(X, Y, None)
        step = model.programs.step_for("train", batch)
        op = [op for op in step.program.operations if op.operator == "normalize"][1]
        labels = {"y": op.outputs[0], "mean": op.outputs[1], "dx": step.program.gradients[op.inputs[0]]}
        found[shards] = step.keeping(labels).run(batch, model.programs.clock(0)).outputs
    for label in ("y", "mean", "dx"):
        np.testing.assert_allclose(found[None][label], found[5][label], rtol=1e-3, atol=1e-5)


def test_frozen_it_uses_its_moving_statistics():
    model = model_of()
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
    assert fitted(model, 5)[0].layers[0].moving_mean.numpy().tolist() == [0, 0]


def test_gradients_of_its_gradient_are_refused():
    """They read the variance, as nothing else does."""
    builder = ProgramBuilder(training=True)
    moving = Variable(np.zeros(2, "float32"), "moving_mean")
    _, mean, variance = builder.add("normalize", builder.input("x", (None, 2)), axes=(0,), epsilon=1e-3)
    state = builder.variable(moving, "state")
    builder.update("moving_average", (state, mean), (state,), momentum=0.9)
    builder.outputs["loss"] = builder.add("reduce_mean", builder.add("square", variance), axes=(0,)).name
    with pytest.raises(ArgumentError, match="gradient of its gradient"):
        synchronized(builder.build(), [moving], builder.variables)


def test_the_config_says_it_only_where_it_is_asked_for():
    assert "synchronized" not in layers.BatchNormalization().get_config()
    config = layers.BatchNormalization(synchronized=True).get_config()
    assert config["synchronized"] is True
    assert layers.BatchNormalization.from_config(config).synchronized
