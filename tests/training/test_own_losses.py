"""Losses, penalties and projections of the user's own: traced, against the library's and against numbers."""

import numpy as np
import pytest

from kernelearn import (
    Input,
    Model,
    Sequential,
    layers,
    load_model,
    losses,
    metrics,
    ops,
    regularizers,
    saving,
    set_random_seed,
)
from kernelearn.errors import ArgumentError, ShapeError, TracingError
from kernelearn.losses.traced import VALUES
from kernelearn.optimizers import SGD

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 6)).astype("float32")
Y = RNG.uniform(0.1, 1.0, size=(20, 3)).astype("float32")
LABELS = RNG.integers(0, 3, 20)
WEIGHTS = RNG.uniform(size=20).astype("float32")


def train(loss, y=Y, activation=None, sample_weight=None, **options):
    """Losses of three epochs and of an evaluation, of a network that always begins the same."""
    set_random_seed(1)
    model = Sequential([Input((6,)), layers.Dense(5, "tanh"), layers.Dense(3, activation)])
    model.compile(SGD(0.1), loss, **options)
    how = {"verbose": 0, "sample_weight": sample_weight, "batch_size": 8}
    history = model.fit(X, y, epochs=3, shuffle=False, **how).history
    return model, [*history["loss"], model.evaluate(X, y, return_dict=True, **how)["loss"]]


def squares(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


class Squares(losses.Loss):
    def call(self, y_true, y_pred):
        return squares(y_true, y_pred)


@pytest.mark.parametrize(
    ("own", "ours"),
    [
        (squares, "mse"),
        (Squares(reduction="sum"), losses.MeanSquaredError(reduction="sum")),
        (
            Squares(reduction="mean_with_sample_weight"),
            losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        ),
        (losses.mean_absolute_error, "mae"),
    ],
)
def test_weights_and_reductions_are_those_of_the_library(own, ours):
    np.testing.assert_allclose(
        train(own, sample_weight=WEIGHTS)[1], train(ours, sample_weight=WEIGHTS)[1], rtol=1e-5
    )


def test_a_single_number_counts_for_the_batch():
    def whole(y_true, y_pred):
        return ops.mean(squares(y_true, y_pred))

    np.testing.assert_allclose(train(whole)[1], train("mse")[1], rtol=1e-5)
    halved = train(whole, sample_weight=np.full(20, 0.5))[1]
    np.testing.assert_allclose(halved, train("mse", sample_weight=np.full(20, 0.5))[1], rtol=1e-5)


class Traced(losses.Loss):
    """A loss of the library, as traced code."""

    def __init__(self, kind):
        super().__init__()
        self.of = losses.get(kind)

    def call(self, y_true, y_pred):
        return VALUES[self.of.kind](y_true, y_pred, **self.of.attrs())


@pytest.mark.parametrize("kind", sorted(VALUES))
def test_traced_losses_are_those_of_the_engine(kind):
    """Values and gradients: three epochs come to the same numbers."""
    y, activation = Y, "softplus"
    if kind.startswith("sparse"):
        y, activation = LABELS, "softmax"
    elif "categorical" in kind or kind == "kl_divergence":
        y, activation = np.eye(3, dtype="float32")[LABELS], "softmax"
    elif "binary" in kind:
        activation = "sigmoid"
    elif "hinge" in kind:
        y = np.sign(Y - 0.5)
    np.testing.assert_allclose(
        train(Traced(kind), y, activation)[1], train(kind, y, activation)[1], rtol=1e-5
    )


def test_a_mask_of_ignored_labels():
    loss = losses.SparseCategoricalCrossentropy(ignore_class=2)

    class Own(Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return loss(y, y_pred, sample_weight)

    def built(cls):
        set_random_seed(1)
        x = Input((6,))
        model = cls(x, layers.Dense(3, "softmax")(x))
        model.compile(SGD(0.1), loss)
        return model.fit(X, LABELS, epochs=2, shuffle=False, verbose=0, sample_weight=WEIGHTS).history["loss"]

    np.testing.assert_allclose(built(Own), built(Model), rtol=1e-5)


def contrast(labels, z):
    """Supervised contrast: it needs the number of images."""
    z = z / ops.sqrt(ops.sum(z * z, axis=-1, keepdims=True))
    likeness = ops.matmul(z, ops.transpose(z)) / 0.5
    same = ops.cast(ops.equal(labels, ops.transpose(labels)), "float32")
    return -ops.sum(same * ops.log_softmax(likeness), axis=-1) / ops.sum(same, axis=-1)


def test_a_loss_that_needs_the_number_of_images():
    """Batches of 8 and 4; the first loss of the first batch, computed here."""
    values = train(contrast, LABELS[:, None])[1]
    assert values[0] > values[2]
    set_random_seed(1)
    fresh = Sequential([Input((6,)), layers.Dense(5, "tanh"), layers.Dense(3)])
    z = fresh.predict(X, verbose=0).astype("float64")
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    means = []
    for at in (slice(0, 8), slice(8, 16), slice(16, 20)):
        likeness = z[at] @ z[at].T / 0.5
        log_p = likeness - np.log(np.exp(likeness).sum(-1, keepdims=True))
        same = LABELS[at, None] == LABELS[None, at]
        means.append(-(same * log_p).sum(-1) / same.sum(-1))
    fresh.compile(SGD(0.0), contrast)
    got = fresh.fit(X, LABELS[:, None], batch_size=8, shuffle=False, verbose=0).history["loss"][0]
    assert got == pytest.approx(np.concatenate(means).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "error", "says"),
    [
        (lambda t, p: np.mean(np.square(t - p)), TracingError, r"Use ops\.square there"),
        (lambda t, p: ops.matmul(t, p), ShapeError, r"y_true \(n, 3\) and y_pred \(n, 3\) at test_own_loss"),
        (lambda t, p: 3.0, ShapeError, "does not depend on its arguments"),
        (lambda t, p: ops.mean(t - p, axis=0), ShapeError, r"values of shape \(3,\)"),
        (lambda t, p: p if ops.max(p) > 0 else t, TracingError, "asks whether"),
    ],
)
def test_what_cannot_be_a_loss_is_said_before_the_first_step(loss, error, says):
    with pytest.raises(error, match=says) as caught:
        train(loss)
    assert "<lambda>" in str(caught.value)


class Encoder(Model):
    """An autoencoder: there are no targets, and a metric is updated in the loss."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = ops.mean(ops.square(x - y_pred)) + 0.0 * sum(self.losses)
        self.tracker.update_state(loss)
        return loss


def encoder(cls=Encoder):
    set_random_seed(2)
    x = Input((6,))
    model = cls(x, layers.Dense(6, name="out")(layers.Dense(2, "tanh", name="code")(x)))
    if cls is not Model:
        model.tracker = metrics.Mean(name="seen")
    return model


def test_a_loss_of_the_models_own_needs_no_targets():
    model, twin = encoder(), encoder(Model)
    model.compile(SGD(0.1))
    twin.compile(SGD(0.1), "mse")
    how = {"epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0}
    own, usual = model.fit(X, **how).history, twin.fit(X, X, **how).history
    np.testing.assert_allclose(own["loss"], usual["loss"], rtol=1e-5)
    assert len(own["seen"]) == 2 and own["seen"][1] < own["seen"][0]  # a mean over batches, not samples
    for got, wanted in zip(model.get_weights(), twin.get_weights()):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    result = model.evaluate(X, verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(twin.evaluate(X, X, verbose=0), rel=1e-5)
    assert result["seen"] == pytest.approx(result["loss"], rel=1e-5)


def test_the_loss_of_compile_inside_of_ones_own():
    class Own(Encoder):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return 0.5 * super().compute_loss(x, y, y_pred, sample_weight) + self.usual(y, y_pred)

        def usual(self, y, y_pred):
            return 0.5 * Model.compute_loss(self, None, y, y_pred)

    model = encoder(Own)
    model.compile(SGD(0.1), "mse")
    first = model.fit(X, X, verbose=0, batch_size=20).history["loss"][0]
    twin = encoder(Model)
    twin.compile(SGD(0.1), "mse")
    assert first == pytest.approx(twin.fit(X, X, verbose=0, batch_size=20).history["loss"][0], rel=1e-5)


@pytest.mark.parametrize("value", [lambda model, y: y, lambda model, y: 1.0])
def test_a_loss_of_the_models_own_is_one_number(value):
    class Own(Encoder):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return value(self, y_pred)

    model = encoder(Own)
    model.compile("sgd")
    with pytest.raises(ShapeError, match=r"Own\.compute_loss"):
        model.fit(X, verbose=0)


def test_penalties_and_projections_as_functions():
    def net(regularizer, constraint):
        set_random_seed(1)
        options = {"kernel_regularizer": regularizer, "kernel_constraint": constraint}
        start = {"kernel_initializer": lambda shape, dtype=None: np.full(shape, 0.2)}
        model = Sequential([Input((6,)), layers.Dense(3, **options, **start)])
        model.compile(SGD(0.5), "mse")
        history = model.fit(X, Y, epochs=2, shuffle=False, verbose=0).history["loss"]
        return history, model

    history, model = net(lambda w: 0.01 * ops.sum(ops.square(w)), lambda w: ops.clip(w, -0.22, 0.22))
    wanted, twin = net("l2", lambda w: np.clip(w, -0.22, 0.22))
    np.testing.assert_allclose(history, wanted, rtol=1e-6)
    kernel = model.get_weights()[0]
    np.testing.assert_allclose(kernel, twin.get_weights()[0], rtol=1e-6)
    assert np.abs(kernel).max() == np.float32(0.22)
    assert model.losses[0] == pytest.approx(0.01 * np.square(kernel).sum(), rel=1e-6)
    acting = []
    for rule in (lambda x: 0.1 * ops.sum(ops.abs(x)), regularizers.L1(0.1)):
        set_random_seed(1)
        model = Sequential([Input((6,)), layers.Dense(3, activity_regularizer=rule)])
        model.compile(SGD(0.1), "mse")
        acting.append(model.fit(X, Y, epochs=2, batch_size=8, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*acting, rtol=1e-5)
    with pytest.raises(ShapeError, match="one number for the weight 'dense"):
        net(lambda w: 0.1 * w, None)


@saving.register(package="tests")
def registered_loss(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


@saving.register(package="tests")
def registered_rule(w):
    return 0.01 * ops.sum(ops.square(w))


@saving.register(package="tests")
def registered_bound(w):
    return ops.clip(w, -0.5, 0.5)


def test_registered_functions_are_saved_by_their_names(tmp_path):
    rules = {"kernel_regularizer": registered_rule, "kernel_constraint": registered_bound}
    model = Sequential([Input((6,)), layers.Dense(3, **rules)])
    model.compile(SGD(0.1), registered_loss, metrics=[registered_loss])
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.kernelearn")
    twin = load_model(tmp_path / "model.kernelearn")
    assert twin.evaluate(X, Y, verbose=0) == pytest.approx(model.evaluate(X, Y, verbose=0))
    assert twin.metrics_names == ["loss", "registered_loss"] and twin.layers[0].kernel_constraint is not None
    wanted, got = (m.fit(X, Y, verbose=0, seed=1).history for m in (model, twin))
    assert wanted == got


@pytest.mark.parametrize("part", ["loss", "metrics", "rule"])
def test_a_function_that_is_not_registered_is_named_before_a_file_is_written(tmp_path, part):
    def mine(*arrays):
        return ops.mean(ops.square(arrays[0] - arrays[-1]))

    rules = {"kernel_regularizer": mine} if part == "rule" else {}
    model = Sequential([Input((6,)), layers.Dense(3, **rules)])
    model.compile(SGD(0.1), mine if part == "loss" else "mse", metrics=[mine] if part == "metrics" else None)
    with pytest.raises(ArgumentError, match=r"function mine, which cannot be saved.*saving\.register"):
        model.save(tmp_path / "model.kernelearn")
    assert not list(tmp_path.iterdir())


class Hits(metrics.Metric):
    """As in Keras's guide: variables, computed with functions of `ops`."""

    def __init__(self, name="hits", **options):
        super().__init__(name=name, **options)
        self.hits = self.add_variable(shape=(), initializer="zeros", name="hits")
        self.seen = self.add_weight(name="seen", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        right = ops.cast(ops.equal(ops.argmax(y_pred, axis=-1), ops.cast(y_true, "int32")), "float32")
        self.hits.assign(self.hits + ops.sum(right))
        self.seen.assign_add(float(right.shape[0]))

    def result(self):
        return self.hits / self.seen


def test_a_metric_with_variables_and_accuracy_by_the_targets():
    def loss(y_true, y_pred):
        return losses.sparse_categorical_crossentropy(y_true, y_pred)

    hits = Hits()
    model = Sequential([Input((6,)), layers.Dense(3, "softmax")])
    model.compile(SGD(0.1), loss, metrics=[hits, "accuracy"])
    history = model.fit(X, LABELS, epochs=2, verbose=0).history
    assert history["hits"] == pytest.approx(history["accuracy"])
    values = model.evaluate(X, LABELS, verbose=0, return_dict=True)
    assert values["accuracy"] == (model.predict(X, verbose=0).argmax(-1) == LABELS).mean()
    assert values["hits"] == pytest.approx(values["accuracy"])
    state, twin = hits.get_state(), Hits()
    twin.set_state(state)
    assert [v.name for v in twin.variables] == ["hits", "seen"] and float(twin.hits) == float(hits.hits)
    twin.reset_state()
    assert float(twin.seen) == 0.0
    one_hot = Sequential([Input((6,)), layers.Dense(3, "softmax")])
    one_hot.set_weights(model.get_weights())
    one_hot.compile(SGD(0.1), squares, metrics=["accuracy"])
    found = one_hot.evaluate(X, np.eye(3)[LABELS], verbose=0, return_dict=True)
    assert found["accuracy"] == values["accuracy"]


def test_projections_are_part_of_the_program():
    model = Sequential([Input((6,)), layers.Dense(3, kernel_constraint=lambda w: ops.maximum(w, 0.0))])
    model.compile(SGD(0.5), "mse")
    model.fit(X, Y, verbose=0)
    assert "constrain" not in {op.operator for op in model.program("train").operations}
    kernel = model.get_weights()[0]
    assert kernel.min() == 0.0 and kernel.max() > 0.0
    model.layers[0].kernel.constraint = lambda w: w[0]
    with pytest.raises(ShapeError, match="must keep its shape"):
        model.fit(X, Y, verbose=0)
