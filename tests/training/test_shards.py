"""Training in shards: the same bits for any number of threads and processes, the sums of the whole batch."""

import itertools
import threading

import numpy as np
import pytest

import kernelearn as kl
from kernelearn import layers, optimizers
from kernelearn.errors import ArgumentError, NonFiniteError
from kernelearn.parallel import sending
from kernelearn.training.steps import shard_sums
from kernelearn.training.steps.cutting import CUT, cut_step
from tests.parallel import threads
from tests.sweeps import some

pytestmark = pytest.mark.filterwarnings("ignore:.* processes share .* shards")
ROWS = 28
X = np.random.default_rng(0).normal(size=(ROWS, 6, 6, 1)).astype("float32")
Y = np.arange(ROWS) % 3
LOSS = "sparse_categorical_crossentropy"


def plain(**options):
    kl.set_random_seed(1)
    return kl.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(4, 3, activation="tanh", **options),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def rich():
    kl.set_random_seed(1)
    return kl.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.RandomFlip(),
            layers.Conv2D(4, 3, kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def trained(model=None, optimizer="adam", shards=4, loss=LOSS, metrics=("accuracy",), **options):
    """A model after two epochs of three batches, the last one short, and its history."""
    model = rich() if model is None else model
    fitting = {name: options.pop(name) for name in ("sample_weight", "class_weight") if name in options}
    targets = options.pop("y", Y)
    model.compile(optimizer, loss, metrics=list(metrics), shards=shards, **options)
    history = model.fit(X, targets, batch_size=12, epochs=2, verbose=0, seed=3, **fitting)
    return model, history.history


def bits(model):
    return b"".join(array.tobytes() for array in model.get_weights())


def check_close(first, second, tolerance=2e-5):
    for one, other in zip(first.get_weights(), second.get_weights()):
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance)


# --- the same bits


@pytest.mark.parametrize("count", [2, 3, 13])
def test_threads_change_no_bit(count):
    kl.set_num_threads(1)
    alone, history = trained()
    kl.set_num_threads(count)
    other, same = trained()
    assert bits(alone) == bits(other)
    assert history == same


@pytest.mark.parametrize("size", [2, 3, 4])
def test_processes_change_no_bit(size):
    """Shards of several processes, one process after the other, on what the exchange of each would hold."""
    alone, history = trained(shards=6)
    logs = as_processes(size, 6)
    assert all(weights == bits(alone) for weights, _ in logs)
    assert all(found == history for _, found in logs)


def as_processes(size, shards):
    """(weights, history) of each process."""
    lock = threading.Lock()

    def work():
        with lock:
            model = rich()
            model.compile("adam", LOSS, metrics=["accuracy"], shards=shards)
            model.build((None, 6, 6, 1))
        found = model.fit(X, Y, batch_size=12, epochs=2, verbose=0, seed=3)
        return bits(model), found.history

    return threads.as_processes(size, work)


# --- the sums of the whole batch


OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(0.01),
    "adamw, clipped": lambda: optimizers.AdamW(0.01, clipnorm=0.1),
    "clipped by all": lambda: optimizers.SGD(0.05, global_clipnorm=0.1),
    "rmsprop": lambda: optimizers.RMSprop(0.005),
    "averaged": lambda: optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5),
    "accumulated": lambda: optimizers.SGD(0.05, gradient_accumulation_steps=2),
    "lamb": lambda: optimizers.Lamb(0.01),
    "adafactor": lambda: optimizers.Adafactor(0.01),
    "muon": lambda: optimizers.Muon(0.01),
    "schedule-free": lambda: optimizers.ScheduleFreeAdamW(0.01),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_optimizer_learns_as_from_whole_batches(make):
    """In float64, where no rounding hides an error or is made one by an optimiser that divides by it."""
    kl.config.set_floatx("float64")
    whole, history = trained(plain(), make(), None)
    parts, same = trained(plain(), make(), 5)
    check_close(whole, parts, 1e-9)
    np.testing.assert_allclose(history["loss"], same["loss"], rtol=1e-9)
    assert history["accuracy"] == same["accuracy"]


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize("shards", [2, 7, 12, 40])
def test_any_number_of_shards_learns_the_same(engine, shards):
    """Forty: more than a batch has images, so some have none."""
    whole, history = trained(plain(), shards=None, engine=engine)
    parts, same = trained(plain(), shards=shards, engine=engine)
    check_close(whole, parts)
    np.testing.assert_allclose(history["loss"], same["loss"], rtol=1e-5)


WEIGHTS = np.linspace(0, 3, ROWS).astype("float32")
CASES = {
    "sample weights": {"sample_weight": WEIGHTS},
    "class weights": {"class_weight": {0: 1.0, 1: 2.5, 2: 0.5}},
    "a sum": {"loss": kl.losses.SparseCategoricalCrossentropy(reduction="sum"), "optimizer": "sgd"},
    "bfloat16": {"policy": "mixed_bfloat16"},
    "no metrics": {"metrics": ()},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_weights_and_reductions_are_those_of_the_batch(options):
    whole, history = trained(plain(), **{**options, "shards": None})
    parts, same = trained(plain(), **options)
    check_close(whole, parts, 1e-3 if "policy" in options else 1e-4)
    np.testing.assert_allclose(history["loss"], same["loss"], rtol=1e-4)


def two_outputs():
    kl.set_random_seed(1)
    x = layers.Input((6, 6, 1))
    features = layers.Flatten()(layers.Conv2D(4, 3, activation="tanh")(x))
    return kl.Model(x, [layers.Dense(3, activation="softmax")(features), layers.Dense(1)(features)])


def test_several_outputs():
    losses = [LOSS, kl.losses.MeanSquaredError(reduction="sum")]
    targets = [Y, X.mean((1, 2))]
    options = {"loss": losses, "metrics": (), "y": targets, "optimizer": "sgd", "loss_weights": [1.0, 0.1]}
    whole, history = trained(two_outputs(), shards=None, **options)
    parts, same = trained(two_outputs(), **options)
    check_close(whole, parts, 1e-4)
    for values, others in zip(history.values(), same.values()):
        np.testing.assert_allclose(values, others, rtol=1e-4)


def test_statistics_are_those_of_shards_merged():
    norm, other = layers.BatchNormalization(), layers.BatchNormalization()
    for layer, shards in ((norm, 3), (other, None)):
        model = kl.Sequential([layers.Input((6, 6, 1)), layer, layers.Flatten(), layers.Dense(3)])
        trained(model, optimizers.SGD(0.0), shards, kl.losses.SparseCategoricalCrossentropy(True))
    np.testing.assert_allclose(norm.moving_mean.numpy(), other.moving_mean.numpy(), atol=1e-5)
    assert not np.array_equal(norm.moving_variance.numpy(), other.moving_variance.numpy())


# --- around a step


def test_buffers_of_a_step_are_those_of_all_images():
    """What a ledger multiplies gives the gradient that the step used."""
    model = plain()
    model.compile("sgd", LOSS, shards=5)
    batch = model.batch_of(X, Y, None)
    step = model.programs.step_for("train", batch)
    gradients = step.program.gradients
    kernel = next(b.name for b in step.program.weights() if b.shape == (64, 3))
    dense = next(op for op in step.program.operations if op.operator == "dense" and kernel in op.inputs)
    labels = {
        "x": dense.inputs[0],
        "grad": gradients[dense.outputs[0]],
        "kernel": gradients[kernel],
    }
    kept = step.keeping(labels)
    result = kept.run(batch, model.programs.clock(0))
    assert result.outputs["x"].shape == (ROWS, 64)
    product = result.outputs["x"].T @ result.outputs["grad"]
    np.testing.assert_allclose(product, result.outputs["kernel"], atol=1e-6)


def test_inputs_and_weights_of_a_step_can_be_asked_for():
    model = plain()
    model.compile("sgd", LOSS, shards=5)
    batch = model.batch_of(X, Y, None)
    step = model.programs.step_for("train", batch)
    kernel = next(b.name for b in step.program.weights() if b.shape == (64, 3))
    names = {name: name for name in ("x_0", "y_true_0", "weight_0", "learning_rate", kernel)}
    outputs = step.keeping(names).run(batch, model.programs.clock(0)).outputs
    for name in ("x_0", "y_true_0", "weight_0"):
        np.testing.assert_array_equal(outputs[name], batch.arrays[name])
    assert float(outputs["learning_rate"]) == pytest.approx(0.01)
    np.testing.assert_array_equal(outputs[kernel], step.variables[kernel].numpy())


def test_a_loss_that_is_not_finite_changes_nothing_and_is_explained():
    model = plain()
    model.compile("sgd", LOSS, shards=4)
    model.fit(X, Y, batch_size=ROWS, epochs=1, verbose=0)
    before = bits(model)
    broken = X.copy()
    broken[-1, 0, 0, 0] = np.inf
    with pytest.raises((NonFiniteError, kl.errors.DataError)):
        model.fit(broken, Y, batch_size=ROWS, epochs=1, verbose=0)
    assert bits(model) == before


def test_one_shard_is_the_batch_as_a_whole():
    assert bits(trained(shards=1)[0]) == bits(trained(shards=None)[0])


def test_a_backup_goes_on_with_its_shards_only(tmp_path):
    backup = kl.callbacks.BackupAndRestore(tmp_path / "b")

    def fit(shards, *callbacks):
        model = plain()
        model.compile("adam", LOSS, shards=shards)
        model.fit(X, Y, batch_size=12, epochs=2, verbose=0, seed=3, callbacks=[backup, *callbacks])
        return model

    with pytest.raises(ZeroDivisionError):
        fit(4, kl.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epoch and 1 / 0))
    with pytest.raises(ArgumentError, match="number of shards"):
        fit(5)
    assert bits(fit(4)) == bits(trained(plain(), metrics=())[0])


@pytest.mark.parametrize("shards", [0, -1, 1.5, "4", True])
def test_shards_are_a_count(shards):
    with pytest.raises(ArgumentError, match="shards"):
        plain().compile("sgd", LOSS, shards=shards)


def test_a_mean_that_no_shard_knows_is_refused():
    loss = kl.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    with pytest.raises(ArgumentError, match="mean_with_sample_weight"):
        plain().compile("sgd", loss, shards=2)


def test_estimators_train_in_shards():
    network = {"epochs": 1, "random_state": 0, "model": "lenet", "batch_size": 16}
    images = np.random.default_rng(0).random((32, 12, 12))
    found = [kl.CNNClassifier(**network, shards=4).fit(images, np.arange(32) % 2) for _ in range(2)]
    whole = kl.CNNClassifier(**network).fit(images, np.arange(32) % 2)
    assert bits(found[0].model_) == bits(found[1].model_)
    assert bits(found[0].model_) != bits(whole.model_)


# --- sums that programs add up themselves

ADDING = {
    "small windows": lambda: [layers.Conv2D(64, 3, padding="same"), layers.Conv2D(64, 3, padding="same")],
    "small windows, wide": lambda: [layers.Conv2D(192, 1), layers.Conv2D(192, 3)],
    "large maps, few channels": lambda: [layers.Conv2D(16, 3, padding="same"), layers.Conv2D(8, 5)],
    "pixels": lambda: [layers.Conv2D(40, 1), layers.Conv2D(40, 1)],
    "strides": lambda: [layers.Conv2D(40, 3, strides=2), layers.Conv2D(24, 2)],
    "depthwise": lambda: [layers.Conv2D(128, 3), layers.DepthwiseConv2D(3)],
    "groups": lambda: [layers.Conv2D(64, 3), layers.Conv2D(64, 3, groups=2)],
    "transposed": lambda: [layers.Conv2DTranspose(24, 3, strides=2)],
    "dense": lambda: [layers.Flatten(), layers.Dense(96), layers.Dense(70)],
}


@pytest.mark.parametrize("least", [1, 1024])
@pytest.mark.parametrize("make_name", ADDING)
def test_what_adds_up_itself_gives_the_bits_of_sums_added_apart(monkeypatch, make_name, least):
    from kernelearn.training.steps import adding

    def after_training(least_numbers):
        monkeypatch.setattr(adding, "LEAST", least_numbers)
        kl.set_random_seed(2)
        x = layers.Input((9, 9, 4))
        hidden = x
        for layer in ADDING[make_name]():
            hidden = layer(hidden)
        model = kl.Model(x, layers.Dense(3)(layers.Flatten()(hidden)))
        model.compile(kl.optimizers.SGD(0.01), LOSS, shards=5)
        images = np.random.default_rng(0).normal(size=(19, 9, 9, 4))
        for rows in (19, 15, 4):  # of which a shard may have none
            model.train_on_batch(images[:rows], np.arange(rows) % 3)
        # NOTE: a sum that begins with a zero has no negative one.
        return model, [weight + 0.0 for weight in model.get_weights()]

    apart, together = after_training(10**9)[1], after_training(least)
    for one, other in zip(apart, together[1]):
        np.testing.assert_array_equal(one.view(np.uint32), other.view(np.uint32))
    calls = together[0].step("train").parts.stages(4)[0].calls()
    assert "add_share" in {call.operation.operator for call in calls} or any("added" in c.note for c in calls)
    if "small windows" in make_name:
        kind = "WinogradGradient" if "wide" in make_name else "SumOfShards"
        assert kind in {type(call.code).__name__ for call in calls if "added up" in call.note}


# --- the cut


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_cut_parts_every_operation_once(make):
    model = rich()
    model.compile(make(), LOSS)
    program = model.step("train").program
    cut = cut_step(program)
    (shard,) = (stage.program for stage in cut.stages)
    assert len(shard.operations) + len(cut.rest.operations) <= len(program.operations)
    assert all(op in program.operations for op in (*shard.operations, *cut.rest.operations))
    updates = [op for op in program.operations if op.phase == "update"]
    assert all(op in cut.rest.operations for op in updates)
    made = {name for op in shard.operations for name in op.outputs}
    assert {value.name for value in cut.values} <= made
    assert {CUT + value.name for value in cut.values} <= set(shard.outputs)


# --- programs that are for a number of images


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize(("rows", "shards"), [(24, 12), (10, 4), (7, 7), (1, 2), (2, 12)])
def test_a_loss_that_needs_the_number_of_images_sees_that_of_each_shard(engine, rows, shards):
    """`circle` compares the images of a batch with each other: those of a shard, in shards."""
    labels = np.arange(rows) // 2 % 3
    model = plain()
    model.compile("sgd", kl.losses.Circle(gamma=2.0), engine=engine, shards=shards)
    loss = model.train_on_batch(X[:rows], labels)
    other, expected = plain(), 0.0
    other.compile("sgd", kl.losses.Circle(gamma=2.0), engine="reference")
    for shard in range(shards):
        part = slice(shard * rows // shards, (shard + 1) * rows // shards)
        if part.stop > part.start:
            found = other.test_on_batch(X[part], labels[part])
            expected += found * (part.stop - part.start) / rows
    assert loss == pytest.approx(expected, rel=1e-4)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_short_batches_of_such_a_loss():
    model = plain()
    model.compile("sgd", kl.losses.Circle(gamma=2.0), shards=5)
    found = model.fit(X, Y, batch_size=12, epochs=2, seed=1, verbose=0).history["loss"]
    assert np.isfinite(found).all()


lock = threading.Lock()


# --- gradients that are rounded


def stepped(steps=1, **options):
    with lock:
        model = plain()
        model.compile(optimizers.SGD(1.0), LOSS, **options)
    for _ in range(steps):
        model.train_on_batch(X, Y)
    return model.get_weights()


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_gradients_travel_as_bfloat16(engine):
    before = plain().get_weights()
    exact = stepped(shards=4, engine=engine)
    rounded = stepped(shards=4, engine=engine, transport="bfloat16")
    for first, one, other in zip(before, exact, rounded):
        assert not np.array_equal(one, other)
        # The part of a shard is rounded, and the two sums above it; what is added may be larger than the sum.
        np.testing.assert_allclose(other - first, one - first, atol=2.0**-6 * np.abs(one - first).max())


def test_the_loss_is_not_rounded():
    losses = []
    for transport in ("float32", "bfloat16"):
        model = plain()
        model.compile("sgd", LOSS, shards=4, transport=transport)
        losses.append(model.train_on_batch(X, Y))
    assert losses[0] == losses[1]


def test_rounded_gradients_for_any_number_of_processes():
    alone = stepped(3, shards=6, transport="bfloat16")
    for size in (2, 3):
        for found in threads.as_processes(size, lambda: stepped(3, shards=6, transport="bfloat16")):
            for one, other in zip(alone, found):
                assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transport": "bfloat16"}, "would have no effect. Give shards=12"),
        ({"transport": "bfloat16", "shards": 1}, "would have no effect"),
        ({"transport": "float16", "shards": 2}, "float16"),
    ],
)
def test_transports_that_are_refused(options, message):
    with pytest.raises((ArgumentError, kl.errors.UnknownNameError), match=message):
        plain().compile("sgd", LOSS, **options)


def test_gradients_of_float64_are_not_rounded():
    kl.config.set_floatx("float64")
    try:
        model = plain()
        with pytest.raises(ArgumentError, match="gradients of float64"):
            model.compile("sgd", LOSS, shards=2, transport="bfloat16")
    finally:
        kl.config.set_floatx("float32")


def test_a_backup_belongs_to_its_transport(tmp_path):
    def fit(epochs, **options):
        model = plain()
        model.compile("sgd", LOSS, shards=4, **options)
        backup = kl.callbacks.BackupAndRestore(tmp_path / "b", delete_checkpoint=False)
        model.fit(X, Y, epochs=epochs, seed=1, verbose=0, callbacks=[backup])

    fit(1, transport="bfloat16")
    with pytest.raises(ArgumentError, match="transport"):
        fit(2)
    fit(2, transport="bfloat16")


# --- pieces that are sent while others are computed


def deep():
    """Layers with about as many weights each."""
    kl.set_random_seed(1)
    hidden = [layers.Conv2D(4, 3, padding="same", activation="tanh") for _ in range(4)]
    last = [
        layers.BatchNormalization(synchronized=True),
        layers.Dropout(0.2),
        layers.GlobalAveragePooling2D(),
    ]
    return kl.Sequential([layers.Input((6, 6, 1)), *hidden, *last, layers.Dense(3, activation="softmax")])


WORLDS = [(2, 12, 28), (3, 7, 28), (4, 12, 3), (2, 2, 28)]  # processes, shards, rows
WAYS = list(itertools.product(("float32", "bfloat16"), ("cpu", "reference")))


@pytest.mark.parametrize(
    ("way", "world"), some(itertools.product(WAYS, WORLDS), quick=list(zip(WAYS, WORLDS)))
)
def test_gradients_that_travel_early(monkeypatch, way, world):
    (transport, engine), (size, shards, rows) = way, world

    def run():
        with lock:
            model = deep()
            model.compile("adam", LOSS, shards=shards, engine=engine, transport=transport)
        model.fit(X[:rows], Y[:rows], batch_size=rows, epochs=3, seed=1, verbose=0)
        return b"".join(weight.tobytes() for weight in model.get_weights())

    alone = run()
    monkeypatch.setattr(shard_sums, "LEAST", 0)
    posted = []
    monkeypatch.setattr(sending.Sending, "post", noting(posted, sending.Sending.post))
    assert threads.as_processes(size, run, spans_machines=True) == [alone] * size
    # steps, processes, pieces
    assert sum(len(one._cuts) > 1 for one in posted) >= 3 * size * 3


def noting(calls, function):
    """The same method; for whom it was called is noted."""

    def noted(self, *arguments):
        calls.append(self)
        return function(self, *arguments)

    return noted


def named(first):
    """A model whose layers have numbers from a first one on."""
    kl.set_random_seed(1)
    convs = [layers.Conv2D(4, 3, padding="same", name=f"conv2d_{first + i}") for i in range(4)]
    last = [layers.Flatten(), layers.Dense(3, activation="softmax", name="dense")]
    model = kl.Sequential([layers.Input((6, 6, 1)), *convs, *last])
    model.compile(optimizers.SGD(0.1, global_clipnorm=0.01), LOSS, shards=6)
    return model


def test_names_of_layers_do_not_matter():
    """Another process may have made more layers before: its names have other numbers, of more digits."""
    first_numbers = iter([3, 8, 98])

    def run():
        with lock:
            model = named(next(first_numbers))
        model.fit(X, Y, batch_size=14, epochs=2, seed=1, verbose=0)
        return b"".join(weight.tobytes() for weight in model.get_weights())

    assert len(set(threads.as_processes(3, run))) == 1


def test_norms_are_added_in_one_order_whatever_the_names():
    orders = []
    for first in (3, 8, 98):
        operations = named(first).program("train").operations
        (norm,) = [op for op in operations if op.operator == "global_norm"]
        counted = {f"conv2d_{first + i}": f"conv2d_+{i}" for i in range(4)}
        orders.append([counted.get(name.split("/")[0], name) for name in norm.inputs])
    assert orders[0] == orders[1] == orders[2]


def test_late_layers_come_first(monkeypatch):
    """Else nothing would travel while something is computed."""
    monkeypatch.setattr(shard_sums, "LEAST", 0)
    found = []

    def run():
        with lock:
            model = deep()
            model.compile("sgd", LOSS, shards=4)
            step = model.step("train")
        last = step.parts.stages(7)[-1]
        found.append((last._announced[0], len(last.stretches)))

    threads.as_processes(2, run, spans_machines=True)
    for behind, steps in found:
        assert behind == sorted(behind)
        assert 0 <= behind[0] < behind[-1] < steps
