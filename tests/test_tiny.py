"""Every headline feature once, in under five seconds: what runs before each commit."""

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, callbacks, layers, load_model, ops
from kernelearn.initializers import SobelBank
from kernelearn.utils import set_random_seed


@pytest.fixture
def stripes():
    """Forty 8 x 8 images of bars, lying (class 0) or standing (class 1), at random places, with noise."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = 0.1 * rng.normal(size=(40, 8, 8, 1))
    for image, label, place in zip(x, y, rng.integers(1, 7, 40)):
        bar = image if label == 0 else image.swapaxes(0, 1)
        bar[place] += 1
    return x.astype("float32"), y


def network(filters=6):
    set_random_seed(0)
    model = Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(filters, 3, activation="relu", name="edges"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flatten"),
            layers.Dense(2, activation="softmax", name="head"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.learning_rate = 0.01
    return model


def test_a_network_learns_and_its_kernels_move(stripes):
    model = network()
    before = model.get_layer("edges").get_weights()[0]
    history = model.fit(*stripes, batch_size=8, epochs=12, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert model.evaluate(*stripes, verbose=0, return_dict=True)["accuracy"] >= 0.95
    assert (model.get_layer("edges").get_weights()[0] != before).all()


def test_a_seed_repeats_a_run(stripes):
    runs = []
    for _ in range(2):
        model = network()
        model.fit(*stripes, epochs=2, verbose=0)
        runs.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*runs))


def test_a_saved_network_answers_alike(stripes, tmp_path):
    model = network()
    model.fit(*stripes, epochs=1, verbose=0)
    model.save(tmp_path / "bars.kernelearn")
    again = load_model(tmp_path / "bars.kernelearn")
    assert np.array_equal(again.predict(stripes[0], verbose=0), model.predict(stripes[0], verbose=0))


def test_branches_and_a_residual():
    image = Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same")(image)
    y = layers.Add()([x, layers.Conv2D(4, 3, padding="same")(x)])
    model = Model(image, layers.GlobalAveragePooling2D()(y))
    assert model.predict(np.ones((2, 8, 8, 1)), verbose=0).shape == (2, 4)
    assert model.count_params() == (9 + 1) * 4 + (36 + 1) * 4


def test_a_fixed_sobel_filter_is_that_of_the_textbook(stripes):
    layer = layers.Conv2D(2, 3, kernel_initializer=SobelBank(), use_bias=False, trainable=False)
    model = Sequential([Input((8, 8, 1)), layer, layers.Flatten(), layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(*stripes, epochs=1, verbose=0)
    to_right = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    assert np.array_equal(layer.get_weights()[0][:, :, 0], np.stack([to_right, to_right.T], axis=-1))


def test_transfer_trains_the_new_head_only(stripes):
    model = network().replace_head(3)
    model.freeze(until="flatten")
    model.compile("adam", "sparse_categorical_crossentropy")
    before = model.get_weights()
    model.fit(*stripes, epochs=1, verbose=0)
    same = [np.array_equal(a, b) for a, b in zip(before, model.get_weights())]
    assert model.output_shape == (None, 3) and same == [True, True, False, False]


def test_a_run_goes_on_where_it_was_stopped(stripes, tmp_path):
    class Stop(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError("the power is gone")

    whole = network()
    whole.fit(*stripes, epochs=4, verbose=0, seed=1)
    with pytest.raises(RuntimeError):
        network().fit(
            *stripes,
            epochs=4,
            verbose=0,
            seed=1,
            callbacks=[callbacks.BackupAndRestore(tmp_path), Stop()],
        )
    resumed = network()
    resumed.fit(*stripes, epochs=4, verbose=0, seed=1, callbacks=[callbacks.BackupAndRestore(tmp_path)])
    assert all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), resumed.get_weights()))


def test_the_three_convolutions_are_adjoint():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 7, 7, 3)), rng.normal(size=(3, 3, 3, 4))
    y = ops.conv(x, kernel, padding="same", strides=2)
    g = rng.normal(size=y.shape)
    to_x = ops.conv_grad_input(g, kernel, input_size=(7, 7), padding="same", strides=2)
    to_kernel = ops.conv_grad_kernel(x, g, kernel_size=(3, 3), padding="same", strides=2)
    assert np.allclose([(x * to_x).sum(), (kernel * to_kernel).sum()], (y * g).sum(), rtol=1e-12)
