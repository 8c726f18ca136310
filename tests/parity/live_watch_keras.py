"""Trainings by `fit` of a living Keras, watched, on PyTorch, TensorFlow and JAX: ledgers and updates.

Keras has one backend a process, so each backend's tests run in a process of their own:

    KERAS_BACKEND=jax python -m pytest tests/parity/live_watch_keras.py     the tests on one backend
    python -m pytest tests/parity/live_watch_keras.py                       on all, one process each

Run by `make parity`; the part that is not slow by every change.
"""

import contextlib
import gc
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

BACKEND = os.environ.get("KERAS_BACKEND")
BACKENDS = {"torch": "torch", "tensorflow": "tensorflow", "jax": "jax"}
# Several steps in one execution, as far as the backend knows them: "auto" is TensorFlow's alone.
SEVERAL_STEPS = {"torch": (), "tensorflow": (2, "auto"), "jax": (2,), None: ()}
pytest.importorskip("keras")
if BACKEND is not None:
    import keras
    from keras import layers as L

    import kernelearn
    from kernelearn import explain
    from kernelearn.errors import ArgumentError, KernelearnError
    from kernelearn.explain.passes.run_steps import StepReplays
    from kernelearn.layers import Dense, Flatten
    from kernelearn.recording import Recorder, Run

here = pytest.mark.skipif(BACKEND is None, reason="runs in the process of a backend")
above = pytest.mark.skipif(BACKEND is not None, reason="runs the processes")


@above
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("part", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_on(backend, part):
    pytest.importorskip(BACKENDS[backend])
    compiling = "--xla_backend_optimization_level=0 --xla_cpu_use_thunk_runtime=true"
    environment = {
        "XLA_FLAGS": compiling,
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", part, __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def plain():
    return [L.Conv2D(3, 3, activation="relu"), L.Flatten(), L.Dense(5, activation="softmax")]


def residual():
    x = keras.Input((6, 6, 2))
    y = L.Conv2D(4, 3, 2, "same", use_bias=False, name="first")(x)
    y = L.ReLU()(L.BatchNormalization()(y))
    y = L.Add()([L.Conv2D(4, 3, padding="same", name="second")(y), y])
    y = L.GlobalAveragePooling2D()(y)
    return keras.Model(x, L.Dense(5, activation="softmax", name="head")(y))


class Own(L.Layer if BACKEND else object):
    """Own weights in `keras.ops`, one of them used twice."""

    def build(self, shape):
        self.filters = self.add_weight(shape=(3, 3, shape[-1], shape[-1]), name="filters")
        self.matrix = self.add_weight(shape=(shape[-1], 4), name="matrix")

    def call(self, x):
        x = keras.ops.tanh(keras.ops.conv(x, self.filters, padding="same"))
        x = keras.ops.tanh(keras.ops.conv(x, self.filters, padding="same"))
        return keras.ops.matmul(keras.ops.mean(x, (1, 2)), self.matrix)


MODELS = {
    "plain": (plain, (6, 6, 2)),
    "residual": (residual, (6, 6, 2)),
    "own": (lambda: [Own(), L.Dense(5, activation="softmax")], (6, 6, 2)),
    "strided even": (lambda: [L.Conv2D(3, 4, 2, "same"), *plain()[1:]], (7, 6, 2)),
    "dilated": (lambda: [L.Conv2D(3, 3, dilation_rate=2, padding="same"), *plain()[1:]], (6, 6, 2)),
    "grouped": (lambda: [L.Conv2D(4, 3, groups=2), *plain()[1:]], (6, 6, 2)),
    "depthwise": (lambda: [L.DepthwiseConv2D(3, depth_multiplier=2), *plain()[1:]], (6, 6, 2)),
    "separable": (lambda: [L.SeparableConv2D(4, 3, padding="same"), *plain()[1:]], (6, 6, 2)),
    "transposed": (lambda: [L.Conv2DTranspose(3, 3, 2, "same"), *plain()[1:]], (4, 4, 2)),
    "transposed odd": (lambda: [L.Conv2DTranspose(3, 3, 2, output_padding=1), *plain()[1:]], (4, 3, 2)),
    "one dimension": (lambda: [L.Conv1D(3, 3, padding="causal"), *plain()[1:]], (8, 2)),
    "three dimensions": (lambda: [L.Conv3D(2, 2), *plain()[1:]], (4, 3, 3, 1)),
    "dropout": (lambda: [L.Conv2D(3, 3), L.Dropout(0.5), *plain()[1:]], (6, 6, 2)),
    "regularised": (
        lambda: [L.Conv2D(3, 3, kernel_regularizer=keras.regularizers.L2(0.05)), *plain()[1:]],
        (6, 6, 2),
    ),
    "positions": (lambda: [L.Dense(4), L.Flatten(), L.Dense(5, activation="softmax")], (3, 2)),
    "nested": (lambda: [keras.Sequential(plain()[:1]), *plain()[1:]], (6, 6, 2)),
}
QUICK = ("plain", "residual", "own", "separable", "transposed", "regularised")
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda: keras.optimizers.Adam(0.01, clipnorm=0.5),
    "amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True, global_clipnorm=0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.7, centered=True),
    "adagrad": lambda: keras.optimizers.Adagrad(0.05, clipvalue=0.01),
    "adadelta": lambda: keras.optimizers.Adadelta(0.5),
    "adamax": lambda: keras.optimizers.Adamax(0.01),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "lion": lambda: keras.optimizers.Lion(0.001),
    "ftrl": lambda: keras.optimizers.Ftrl(0.05),
    "lamb": lambda: keras.optimizers.Lamb(0.01),
    "adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "accumulated": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "averaged": lambda: keras.optimizers.SGD(0.05, use_ema=True, ema_overwrite_frequency=2, ema_momentum=0.5),
    "schedule": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)),
}


def data(shape, count=40, classes=5):
    random = np.random.default_rng(3)
    return random.normal(size=(count, *shape)).astype("float32"), np.arange(count) % classes


def made(name, optimizer="sgd", **compiling):
    keras.utils.set_random_seed(0)
    make, shape = MODELS[name]
    given = make()
    model = given if isinstance(given, keras.Model) else keras.Sequential([keras.Input(shape), *given])
    made_optimizer = OPTIMIZERS[optimizer]() if isinstance(optimizer, str) else optimizer
    model.compile(made_optimizer, "sparse_categorical_crossentropy", **compiling)
    return model, shape


def fit(model, shape, *callbacks, epochs=1, **options):
    x, y = data(shape)
    return model.fit(
        x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks), **options
    )


def residuals(run, several=4):
    """Layer/weight -> largest residual of some weights of its ledgers, by the sum of the absolute terms."""
    random = np.random.default_rng(0)
    found = {}
    for layer in run.layers:
        for weight in run.weights(layer):
            for step in run.ledger_steps_of(layer, weight):
                factors = run.ledger(layer, int(step), weight)
                for _ in range(several):
                    index = tuple(int(random.integers(size)) for size in factors.gradient.shape)
                    book = explain.ledger(factors, weight=(weight, *index))
                    size = float(np.abs(book.terms).sum()) + abs(book.penalty)
                    error = abs(book.residual) / max(size, 1e-12)
                    found[f"{layer}/{weight}"] = max(error, found.get(f"{layer}/{weight}", 0.0))
    return found


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@here
@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MODELS]
)
def test_ledgers_are_keras_gradients(name, folder):
    model, shape = made(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(model, shape, kernelearn.watch_keras(folder, every=2, layers="all"))
    run = Run(folder)
    assert run.status == "finished" and run.last_step == 5
    assert run.ledger_steps.tolist() == [1, 2, 4]
    kernels = [v for v in model.trainable_variables if len(v.shape) > 1]
    found = residuals(run)
    assert len(found) == len(kernels), (found, [v.path for v in kernels])
    assert max(found.values()) < 1e-6, found
    for layer in run.layers:
        for weight in run.weights(layer):
            if run.update_rule(layer, 2, weight):
                assert explain.update_split(run, layer, 2, weight).is_exact, (layer, weight)


@here
@pytest.mark.parametrize(
    "name",
    [n if n in ("adam", "schedule") else pytest.param(n, marks=pytest.mark.slow) for n in OPTIMIZERS],
)
def test_updates_are_those_of_the_optimiser(name, folder):
    model, shape = made("plain", name)
    fit(model, shape, kernelearn.watch_keras(folder, every=1, layers="all"))
    run = Run(folder)
    for layer in run.layers:
        for weight in run.weights(layer):
            for step in range(1, 6):
                split = explain.update_split(run, layer, step, weight)
                assert split.is_exact, (layer, weight, step, np.abs(split.residual).max())


@here
def test_training_is_the_same(folder):
    weights, histories = [], []
    for is_watched in (False, True):
        model, shape = made("residual", "adam")
        images = data(shape)[0][:3]
        watching = [kernelearn.watch_keras(folder, every=2, probe_images=images)] if is_watched else []
        histories.append(fit(model, shape, *watching, epochs=2, validation_split=0.2).history)
        weights.append(model.get_weights())
    same = np.testing.assert_array_equal if BACKEND != "tensorflow" else close
    for a, b in zip(*weights):
        same(a, b)
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-5)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


@here
def test_batches_losses_and_weights_are_those_of_the_fit(folder):
    model, shape = made("plain", "momentum")
    seen, told = [], []

    class Spy(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            told.append(float(logs["loss"]))
            seen.append([np.array(w) for w in self.model.get_weights()])

    before = model.get_weights()
    fit(
        model,
        shape,
        kernelearn.watch_keras(folder, every=3, kernels_every=1, class_names=list("abcde")),
        Spy(),
        epochs=2,
    )
    run = Run(folder)
    assert run.last_step == 10 and run.ledger_steps.tolist() == [1, 3, 6, 9]
    layer = model.layers[0].name
    np.testing.assert_array_equal(run.kernels(layer, 0), before[0])
    for step in range(1, 11):
        np.testing.assert_array_equal(run.kernels(layer, step), seen[step - 1][0])
    y = data(shape)[1]
    np.testing.assert_array_equal(run.batch(3).labels, y[16:24])
    _, losses = run.scalars("loss")
    assert len(losses) == 10 and np.isfinite(losses).all()
    means = np.concatenate([np.cumsum(losses[part]) / np.arange(1, 6) for part in (slice(5), slice(5, 10))])
    np.testing.assert_allclose(means, told, rtol=1e-5)


@here
def test_steps_without_records_have_their_own_losses_and_rates(folder):
    """Told together: by the sums that Keras keeps, and by the schedule."""
    model, shape = made("plain")
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
    told = []

    class Spy(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            told.append(float(logs["loss"]))

    fit(model, shape, kernelearn.watch_keras(folder, every=10**6, kernels_every=10**6), Spy(), epochs=3)
    run = Run(folder)
    steps, losses = run.scalars("loss")
    means = np.cumsum(losses.reshape(3, 5), 1) / np.arange(1, 6)
    np.testing.assert_array_equal(steps, np.arange(1, 16))
    np.testing.assert_allclose(means.ravel(), told, rtol=1e-5)
    rates = run.scalars("learning_rate")[1]
    np.testing.assert_allclose(rates[-15:], 0.1 * 0.5 ** (np.arange(15) / 3), rtol=1e-6)
    assert [len(run.batch(step).images) for step in (1, 7, 15)] == [8, 8, 8]


@here
@pytest.mark.parametrize("is_scaled", [False, True])
def test_a_rate_that_is_set_within_an_epoch_is_that_of_the_steps_behind_it(folder, is_scaled):
    model, shape = made("plain")
    optimizer = keras.optimizers.SGD(0.1)
    given = keras.optimizers.LossScaleOptimizer(optimizer) if is_scaled else optimizer
    model.compile(given, "sparse_categorical_crossentropy")

    class Setting(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            optimizer.learning_rate = 0.1 / (batch + 2) if self.model else 0.0

    fit(model, shape, kernelearn.watch_keras(folder, every=10**6, kernels_every=10**6), Setting(), epochs=2)
    rates = Run(folder).scalars("learning_rate")[1]
    np.testing.assert_allclose(rates, 0.1 / np.array([1, 2, 3, 4, 5, 6, 2, 3, 4, 5]), rtol=1e-6)


@here
def test_explanations_of_the_run_compute_with_the_model(folder):
    model, shape = made("residual")
    x = data(shape)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model, shape, kernelearn.watch_keras(folder, every=2, probe_images=x[:3], maps_every=2))
    run = Run(folder)
    twin = run.model(int(run.model_steps[-1]))
    np.testing.assert_allclose(twin.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)
    maps = keras.Model(model.inputs, model.get_layer("second").output).predict(x[:3], verbose=0)
    assert run.maps("second", 4).shape == maps.shape
    StepReplays(run).at(2)  # a step done again from the record: its errors are compared with those of Keras


@here
def test_mixed_precision(folder):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model, shape = made("residual")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    fit(model, shape, kernelearn.watch_keras(folder, every=2, layers="all"))
    assert max(residuals(Run(folder)).values()) < 8e-3


@here
@pytest.mark.slow
def test_loss_scaling(folder):
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=64.0)
    model, shape = made("plain", optimizer)
    fit(model, shape, kernelearn.watch_keras(folder, every=1, layers="all"))
    run = Run(folder)
    assert max(residuals(run).values()) < 1e-6
    assert explain.update_split(run, run.layers[0], 2).is_exact


@here
def test_frozen_layers_are_known(folder):
    model, shape = made("residual")
    model.get_layer("first").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    fit(model, shape, kernelearn.watch_keras(folder, every=2, layers="all"))
    run = Run(folder)
    assert run.is_frozen("first", 2) and not run.is_frozen("second", 2)


@here
def test_what_cannot_be_watched_is_refused_by_name(folder):
    model, shape = made("plain")
    fit(model, shape, kernelearn.watch_keras(folder))
    with pytest.raises(ArgumentError, match="overwrite=True"):
        kernelearn.watch_keras(folder)
    callback = kernelearn.watch_keras(folder, overwrite=True)
    fit(model, shape, callback)
    with pytest.raises(ArgumentError, match="another callback"):
        fit(model, shape, callback)
    for steps in SEVERAL_STEPS[BACKEND]:
        model, shape = made("plain", steps_per_execution=steps)
        with pytest.raises(ArgumentError, match="steps_per_execution"):
            fit(model, shape, kernelearn.watch_keras(folder, overwrite=True))


class Stop(keras.callbacks.Callback if BACKEND else object):
    """Ends a fit with an error, behind a step or just before it."""

    def __init__(self, is_before):
        super().__init__()
        self.is_before = is_before

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1 and self.is_before:
            raise ZeroDivisionError

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise ZeroDivisionError


@here
@pytest.mark.parametrize("is_before", [False, True])
def test_a_fit_that_failed_leaves_the_model_to_the_next_one(folder, is_before):
    model, shape = made("plain")
    callback = kernelearn.watch_keras(folder, every=1)
    with pytest.raises(ZeroDivisionError):
        fit(model, shape, callback, Stop(is_before))
    with pytest.warns(UserWarning, match="was not stopped"):
        fit(model, shape, kernelearn.watch_keras(folder.with_name("next"), every=1))
    assert Run(folder.with_name("next")).status == "finished"
    with pytest.raises(ArgumentError, match="another callback"):
        fit(model, shape, callback)
    assert Run(folder).status == "interrupted"


@here
@pytest.mark.parametrize("is_before", [False, True])
@pytest.mark.parametrize("is_same_model", [True, False])
def test_a_fit_that_failed_gives_its_folder_to_the_next_one(folder, is_before, is_same_model):
    """As in a cell that is run again: the callback is made inline, and the error is kept."""
    model, shape = made("plain")
    with pytest.raises(ZeroDivisionError) as kept:
        fit(model, shape, kernelearn.watch_keras(folder, every=1), Stop(is_before))
    if not is_same_model:
        model, shape = made("plain")
    with pytest.raises(ArgumentError, match="overwrite=True"):
        kernelearn.watch_keras(folder)
    with pytest.warns(UserWarning, match="was not stopped"):
        fit(model, shape, kernelearn.watch_keras(folder, every=1, overwrite=True))
    assert Run(folder).status == "finished" and Run(folder).last_step == 5
    assert kept is not None


@here
def test_a_fit_that_failed_is_closed_when_its_model_is_fitted_again(folder):
    model, shape = made("plain")
    with pytest.raises(ZeroDivisionError) as kept:
        fit(model, shape, kernelearn.watch_keras(folder, every=1), Stop(False))
    fit(model, shape)
    assert Run(folder).last_step == 2
    with pytest.warns(UserWarning, match="was not stopped"):
        fit(model, shape, kernelearn.watch_keras(folder.with_name("next"), every=1))
    assert Run(folder).status == "interrupted" and Run(folder.with_name("next")).status == "finished"
    assert kept is not None


@here
@pytest.mark.parametrize("is_before", [False, True])
def test_a_fit_that_failed_is_closed_when_its_error_is_forgotten(folder, is_before):
    """Written inline nobody has the callback any more, but for cycles that Keras makes."""
    model, shape = made("plain")
    with contextlib.suppress(ZeroDivisionError):
        fit(model, shape, kernelearn.watch_keras(folder, every=1), Stop(is_before))
    gc.collect()
    assert Run(folder).status == "interrupted"


@here
def test_a_fit_that_failed_gives_its_folder_to_a_training_of_ours(folder):
    model, shape = made("plain")
    callback = kernelearn.watch_keras(folder, every=1)
    with pytest.raises(ZeroDivisionError):
        fit(model, shape, callback, Stop(False))
    ours = kernelearn.Sequential([kernelearn.Input(shape), Flatten(), Dense(5, activation="softmax")])
    ours.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.warns(UserWarning, match="another run is written into its folder"):
        ours.fit(*data(shape), epochs=1, verbose=0, callbacks=[Recorder(folder, overwrite=True)])
    assert Run(folder).status == "finished"
    callback.stop()


@here
def test_wrong_arguments_are_told_before_the_first_step(folder):
    model, shape = made("plain")
    before = [np.array(w) for w in model.get_weights()]
    wrong = [{"layers": ["nope"]}, {"probe_images": np.zeros((2, 1, 1, 1))}, {"probe_images": "abc"}]
    for one in wrong:
        with pytest.raises(KernelearnError, match=r"nope|probe_images"):
            fit(model, shape, kernelearn.watch_keras(folder, **one))
        assert not folder.exists()
    both = [kernelearn.watch_keras(folder.with_name(name), every=1) for name in "ab"]
    with pytest.raises(ArgumentError, match="being watched already"):
        fit(model, shape, *both)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


@here
def test_an_error_of_the_recording_ends_the_recording_alone(folder, monkeypatch):
    from kernelearn.watching import book

    model, shape = made("plain")
    fits = []

    class Spoil(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            fits.append(batch)
            if batch == 1:
                monkeypatch.setattr(book.WatchBook, "record", lambda *_: 1 / 0)

    with pytest.warns(UserWarning, match="ZeroDivisionError.*goes on without it"):
        fit(model, shape, kernelearn.watch_keras(folder, every=1), Spoil())
    assert len(fits) == 5 and Run(folder).last_step == 2
