"""`fit`, `evaluate`, `predict` and their relatives: what they report, repeat, respect and refuse."""

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, callbacks, config, layers, optimizers, utils
from kernelearn.errors import ArgumentError, DataError, NonFiniteError, NotBuiltError, ShapeError

RNG = np.random.default_rng(6)
X = RNG.random((50, 6, 6, 1), "float32")
Y = RNG.integers(0, 3, 50)
LOSS = "sparse_categorical_crossentropy"


def network(**dense):
    return Sequential(
        [
            Input((6, 6, 1)),
            layers.Conv2D(3, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="head", **dense),
        ]
    )


def compiled(optimizer="sgd", metrics=None, **options):
    utils.set_random_seed(1)
    model = network()
    model.compile(optimizer, LOSS, metrics=metrics, **options)
    return model


def line(outputs=1, **options):
    """One dense layer of zeros: its numbers can be worked out by hand."""
    return Sequential(
        [Input((2,)), layers.Dense(outputs, kernel_initializer="zeros", name="line", **options)]
    )


def flat(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


# What is reported


def test_history_has_the_names_and_order_of_keras():
    model = compiled(metrics=["accuracy"])
    history = model.fit(X, Y, epochs=2, validation_split=0.2, verbose=0)
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert history.epoch == [0, 1] and all(len(v) == 2 for v in history.history.values())
    assert model.history is history


def test_the_loss_of_an_epoch_is_the_mean_over_its_samples():
    """Batches of 32 and 18, without any learning: the same as evaluate, which sees batches of 50."""
    model = compiled(optimizers.SGD(0.0), metrics=["accuracy"])
    logs = model.fit(X, Y, 32, verbose=0).history
    loss, accuracy = model.evaluate(X, Y, 50, verbose=0)
    assert logs["loss"][0] == pytest.approx(loss, rel=1e-6)
    assert logs["accuracy"][0] == pytest.approx(accuracy, rel=1e-6)


def test_losses_worked_out_by_hand():
    model = line()
    model.compile(optimizers.SGD(0.5), "mse", metrics=["mae"])
    x, y = np.array([[1.0, 0], [0, 2]]), np.array([[1.0], [3.0]])
    history = model.fit(x, y, 2, shuffle=False, verbose=0).history
    assert history["loss"] == [5.0] and history["mae"] == [2.0]
    # dL/dkernel = -(x' y), dL/dbias = -(1 + 3), both times the rate of a half.
    np.testing.assert_allclose(model.get_weights()[0], [[0.5], [3.0]])
    np.testing.assert_allclose(model.get_weights()[1], [2.0])


def test_validation_split_takes_the_last_rows():
    model = compiled(optimizers.SGD(0.0))
    history = model.fit(X, Y, validation_split=0.3, verbose=0).history
    assert history["val_loss"][0] == pytest.approx(model.evaluate(X[35:], Y[35:], verbose=0), rel=1e-6)
    assert history["loss"][0] == pytest.approx(model.evaluate(X[:35], Y[:35], verbose=0), rel=1e-6)


def test_validation_does_not_disturb_training():
    def run(**validation):
        model = compiled("adam", ["accuracy"])
        history = model.fit(X, Y, 16, epochs=3, verbose=0, seed=2, **validation).history
        return flat(model), {k: v for k, v in history.items() if not k.startswith("val_")}

    alone, with_validation = run(), run(validation_data=(X[:20], Y[:20]), validation_batch_size=7)
    np.testing.assert_array_equal(alone[0], with_validation[0])
    assert alone[1] == with_validation[1]


def test_validation_in_some_epochs_with_weights_and_few_steps():
    model = compiled(optimizers.SGD(0.0))
    weight = np.linspace(0, 1, 50)
    history = model.fit(X, Y, epochs=4, validation_data=(X, Y, weight), validation_freq=2, verbose=0).history
    assert len(history["val_loss"]) == 2 and len(history["loss"]) == 4
    expected = model.evaluate(X, Y, sample_weight=weight, verbose=0)
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-6)
    few = model.fit(X, Y, validation_data=[X, Y], validation_steps=2, validation_batch_size=5, verbose=0)
    assert few.history["val_loss"][0] == pytest.approx(model.evaluate(X[:10], Y[:10], verbose=0), rel=1e-6)


def test_a_callback_may_evaluate_in_the_middle_of_an_epoch():
    def evaluate(batch, logs):
        model.evaluate(X[:5], Y[:5], verbose=0)

    model = compiled(optimizers.SGD(0.0), ["accuracy"])
    watch = callbacks.LambdaCallback(on_train_batch_end=evaluate)
    history = model.fit(X, Y, 10, callbacks=[watch], verbose=0).history
    expected = model.evaluate(X, Y, verbose=0)
    assert [history["loss"][0], history["accuracy"][0]] == pytest.approx(expected, rel=1e-6)


def test_logs_of_batches_are_means_so_far():
    seen = []
    watch = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"]))
    model = compiled(optimizers.SGD(0.0))
    model.fit(X, Y, 20, shuffle=False, callbacks=[watch], verbose=0)
    expected = [model.evaluate(X[:n], Y[:n], verbose=0) for n in (20, 40, 50)]
    np.testing.assert_allclose(seen, expected, rtol=1e-6)


# Epochs, steps, stops


def test_epochs_is_the_index_after_the_last():
    model = compiled()
    assert model.fit(X, Y, epochs=5, initial_epoch=3, verbose=0).epoch == [3, 4]
    assert model.optimizer.iterations == 4
    assert model.fit(X, Y, epochs=2, initial_epoch=2, verbose=0).epoch == []


def test_steps_per_epoch():
    model = compiled()
    with pytest.warns(UserWarning, match="ran out in epoch 2: 2 of 3 steps"):
        model.fit(X, Y, 10, epochs=3, steps_per_epoch=3, verbose=0)
    assert model.optimizer.iterations == 8


def test_callbacks_see_everything_in_order_and_may_stop():
    events = []

    class Watch(callbacks.Callback):
        def on_train_begin(self, logs=None):
            events.append("begin")

        def on_epoch_begin(self, epoch, logs=None):
            events.append(f"epoch {epoch}")

        def on_train_batch_end(self, batch, logs=None):
            events.append(f"batch {batch}")

        def on_epoch_end(self, epoch, logs=None):
            events.append(f"end {epoch}")
            self.model.stop_training = epoch == 1

        def on_train_end(self, logs=None):
            events.append("done")

    history = compiled().fit(X, Y, 32, epochs=9, callbacks=[Watch()], verbose=0)
    first, second = (["epoch 0", "batch 0", "batch 1", "end 0"], ["epoch 1", "batch 0", "batch 1", "end 1"])
    assert events == ["begin", *first, *second, "done"] and history.epoch == [0, 1]


def test_a_stop_in_the_middle_of_an_epoch():
    def stop(batch, logs):
        model.stop_training = batch == 1

    model = compiled()
    model.fit(X, Y, 10, epochs=3, callbacks=[callbacks.LambdaCallback(on_train_batch_end=stop)], verbose=0)
    assert model.optimizer.iterations == 2
    model.fit(X, Y, 10, verbose=0)
    assert model.optimizer.iterations == 7, "a later call trains again"


# Weights of classes and samples


def test_class_weight_is_a_weight_of_each_sample():
    factors = {0: 0.5, 1: 2.0, 2: 0.0}
    one, other = compiled(), compiled()
    one.fit(X, Y, class_weight=factors, verbose=0, seed=1)
    other.fit(X, Y, sample_weight=np.array([factors[c] for c in Y]), verbose=0, seed=1)
    np.testing.assert_array_equal(flat(one), flat(other))
    with pytest.raises(ArgumentError, match=r"no entry for the classes \[2\]"):
        one.fit(X, Y, class_weight={0: 1.0, 1: 1.0}, verbose=0)


def test_class_weight_with_one_hot_rows_and_sample_weight():
    factors, weight = {0: 0.5, 1: 2.0, 2: 1.0}, np.linspace(0, 1, 50)
    one, other = compiled(), compiled()
    one.compile("sgd", "categorical_crossentropy")
    one.fit(X, utils.to_categorical(Y, 3), class_weight=factors, sample_weight=weight, verbose=0, seed=1)
    other.fit(X, Y, sample_weight=weight * np.array([factors[c] for c in Y]), verbose=0, seed=1)
    np.testing.assert_allclose(flat(one), flat(other), rtol=1e-5, atol=1e-7)


def test_samples_of_weight_zero_do_not_count_but_the_mean_is_over_all():
    weight = (np.arange(50) < 20).astype("float32")
    model = compiled(optimizers.SGD(0.0))
    got = model.evaluate(X, Y, 50, sample_weight=weight, verbose=0)
    assert got == pytest.approx(model.evaluate(X[:20], Y[:20], verbose=0) * 20 / 50, rel=1e-6)


def test_only_weighted_metrics_see_sample_weights():
    model = compiled(metrics=["accuracy"], weighted_metrics=["sparse_categorical_accuracy"])
    weight = (np.arange(50) < 20).astype("float32")
    got = model.evaluate(X, Y, sample_weight=weight, verbose=0, return_dict=True)
    hit = model.predict(X, verbose=0).argmax(-1) == Y
    assert got["accuracy"] == pytest.approx(hit.mean())
    assert got["sparse_categorical_accuracy"] == pytest.approx(hit[:20].mean())


# evaluate, predict, single batches


def test_evaluate_gives_a_number_a_list_or_a_dict():
    assert isinstance(compiled().evaluate(X, Y, verbose=0), float)
    model = compiled(metrics=["accuracy"])
    values, named = model.evaluate(X, Y, verbose=0), model.evaluate(X, Y, verbose=0, return_dict=True)
    assert list(named) == ["loss", "accuracy"] and list(named.values()) == values
    assert model.evaluate(X, Y, 10, steps=2, verbose=0)[0] == pytest.approx(
        model.evaluate(X[:20], Y[:20], verbose=0)[0], rel=1e-6
    )


@pytest.mark.parametrize("batch_size", [1, 16, 50, 64, None])
def test_predict_has_a_row_for_every_sample(batch_size):
    model = network()
    got = model.predict(X, batch_size, verbose=0)
    assert type(got) is np.ndarray and got.shape == (50, 3) and got.dtype == "float32"
    np.testing.assert_allclose(got, model.predict_on_batch(X), rtol=1e-5, atol=1e-6)


def test_predict_in_steps_and_without_compile():
    assert network().predict(X, 8, steps=2, verbose=0).shape == (16, 3)


def test_predict_sees_the_weights_of_now():
    model = compiled()
    before = model.predict(X, verbose=0)
    model.fit(X, Y, verbose=0)
    assert not np.array_equal(before, model.predict(X, verbose=0))
    model.set_weights([w * 0 for w in model.get_weights()])
    np.testing.assert_allclose(model.predict(X, verbose=0), 1 / 3, rtol=1e-6)


def test_train_on_batch_is_fit_with_one_batch():
    one, other = compiled("adam", ["accuracy"]), compiled("adam", ["accuracy"])
    for _ in range(3):
        got = one.train_on_batch(X, Y)
        history = other.fit(X, Y, 50, shuffle=False, verbose=0).history
        assert got == [history["loss"][0], history["accuracy"][0]]
    np.testing.assert_array_equal(flat(one), flat(other))
    assert one.optimizer.iterations == 3
    assert one.test_on_batch(X, Y) == pytest.approx(one.evaluate(X, Y, 50, verbose=0))
    assert list(one.train_on_batch(X, Y, return_dict=True)) == ["loss", "accuracy"]


# The same again


def noisy():
    return Sequential(
        [
            Input((6, 6, 1)),
            layers.RandomFlip(),
            layers.Conv2D(3, 3, activation="relu"),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def run_noisy(process_seed, **fit):
    utils.set_random_seed(process_seed)
    model = noisy()
    model.compile("adam", LOSS)
    losses = model.fit(X, Y, 16, epochs=2, verbose=0, **fit).history["loss"]
    return flat(model).tobytes(), losses


def test_a_seed_repeats_a_run_bitwise():
    assert run_noisy(5) == run_noisy(5)
    assert run_noisy(5)[0] != run_noisy(6)[0]
    assert run_noisy(5, seed=1) == run_noisy(5, seed=1)
    assert run_noisy(5, seed=1)[0] != run_noisy(5, seed=2)[0], "shuffling and dropout follow the seed"


def test_noise_differs_between_steps_and_is_absent_in_inference():
    model = Sequential([Input((100,)), layers.Dropout(0.5), layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizers.SGD(0.0), "mse")
    x, y = np.ones((1, 100)), np.zeros((1, 1))
    assert len({model.train_on_batch(x, y) for _ in range(6)}) > 3
    assert model.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0) == 100**2


# What changes a step


def test_a_multiplier_of_zero_leaves_a_layer_and_one_half_halves():
    def step(multiplier):
        utils.set_random_seed(1)
        model = network(learning_rate_multiplier=multiplier)
        model.compile(optimizers.SGD(0.1), LOSS)
        before = model.get_weights()
        model.train_on_batch(X, Y)
        return [new - old for old, new in zip(before, model.get_weights())]

    none, half, whole = step(0.0), step(0.5), step(1.0)
    assert not none[2].any() and not none[3].any() and none[0].any()
    np.testing.assert_array_equal(none[0], whole[0])
    np.testing.assert_allclose(half[2], whole[2] / 2, rtol=1e-4, atol=1e-7)


def steps_of(**clip):
    """How far each weight of a line moves in one step of SGD at rate 1."""
    model = line()
    model.compile(optimizers.SGD(1.0, **clip), "mse")
    model.train_on_batch(np.array([[3.0, 4.0]]), np.array([[0.5]]))
    return model.get_weights()


def test_clipping():
    kernel, bias = steps_of()
    np.testing.assert_allclose(kernel.ravel(), [3, 4])
    np.testing.assert_allclose(bias, [1])
    kernel, bias = steps_of(clipnorm=0.5)
    np.testing.assert_allclose(kernel.ravel(), [0.3, 0.4], rtol=1e-6)
    np.testing.assert_allclose(bias, [0.5], rtol=1e-6)
    kernel, bias = steps_of(global_clipnorm=1.0)
    np.testing.assert_allclose([*kernel.ravel(), *bias], np.array([3, 4, 1]) / 26**0.5, rtol=1e-6)
    kernel, bias = steps_of(clipvalue=2.0)
    np.testing.assert_allclose([*kernel.ravel(), *bias], [2, 2, 1])


def test_regularizers_add_to_the_loss_and_to_the_gradient():
    model = Sequential([Input((2,)), layers.Dense(1, kernel_initializer="ones", kernel_regularizer="l2")])
    model.compile(optimizers.SGD(1.0), "mse")
    x, y = np.zeros((4, 2)), np.zeros((4, 1))
    assert model.evaluate(x, y, verbose=0) == pytest.approx(0.02)
    assert model.fit(x, y, verbose=0).history["loss"][0] == pytest.approx(0.02)
    np.testing.assert_allclose(model.get_weights()[0], 1 - 2 * 0.01, rtol=1e-6)


def test_an_activity_regularizer_is_divided_by_the_number_of_images():
    for rows in (1, 5):
        model = Sequential(
            [Input((2,)), layers.Dense(3, kernel_initializer="ones", activity_regularizer="l1")]
        )
        model.compile("sgd", "mse")
        x = np.ones((rows, 2))
        assert model.evaluate(x, np.full((rows, 3), 2.0), verbose=0) == pytest.approx(0.01 * 6)


def test_constraints_hold_after_every_step():
    model = Sequential([Input((2,)), layers.Dense(4, use_bias=False, kernel_constraint="non_neg")])
    model.compile(optimizers.SGD(0.1), "mse")
    model.fit(np.ones((8, 2)), np.full((8, 4), -3.0), 2, epochs=10, verbose=0)
    kernel = model.get_weights()[0]
    assert not kernel.any()


def test_a_schedule_is_read_at_every_update():
    model = line()
    model.compile(optimizers.SGD(optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 0.0])), "mse")
    model.fit(np.ones((3, 2)), np.ones((3, 1)), 1, verbose=0)
    assert model.optimizer.learning_rate == 0.0 and model.optimizer.iterations == 3


# Not finite


def exploding():
    model = compiled(optimizers.SGD(1e30))
    return model


def test_a_loss_that_is_not_finite_stops_with_step_layer_and_tensor():
    model = Sequential(
        [Input((2,)), layers.Dense(4, name="first"), layers.Dense(1, activation="exponential", name="second")]
    )
    model.compile(optimizers.SGD(10.0), "mse")
    model.set_weights([np.full_like(w, 20.0) for w in model.get_weights()])
    with pytest.raises(NonFiniteError, match=r"Step 1: .*'second/activation'.* layer 'second'") as caught:
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    assert "Lower the learning rate" in str(caught.value)
    np.testing.assert_array_equal(flat(model), 20.0)
    assert model.optimizer.iterations == 0


def test_weights_stay_finite_when_training_explodes():
    model = exploding()
    with pytest.raises(NonFiniteError, match=r"Step \d+: the loss is not finite"):
        for _ in range(20):
            model.fit(X * 100, Y, 8, epochs=20, verbose=0)
    assert np.isfinite(flat(model)).all()


def test_a_weight_that_overflowed_is_named_without_a_promise():
    model = Sequential([Input((1,)), layers.Dense(1, kernel_initializer="ones", use_bias=False, name="line")])
    model.compile(optimizers.SGD(1e38), "mse")
    with pytest.raises(NonFiniteError, match=r"Step 2: .*'line/kernel', already before this step") as caught:
        model.fit(np.full((4, 1), 100.0), np.zeros((4, 1)), 2, verbose=0)
    assert "The weights are those before" not in str(caught.value)


def test_without_the_check_training_goes_on_and_keeps_its_weights():
    model = Sequential([Input((2,)), layers.Dense(1, activation="exponential", name="line")])
    model.compile("sgd", "mse")
    model.set_weights([np.full_like(w, 500.0) for w in model.get_weights()])
    history = model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, terminate_on_nan=False).history
    assert not np.isfinite(history["loss"][0])
    np.testing.assert_array_equal(flat(model), 500.0)


# What is refused


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X.transpose(0, 3, 1, 2), Y, ShapeError, r"channels-first images: x\.transpose\(0, 2, 3, 1\)"),
        (X[:, :5], Y, ShapeError, r"takes arrays of shape"),
        (X, Y[:40], ShapeError, r"50.*40|40.*50"),
        (X, np.eye(3)[Y], ShapeError, r"one-hot rows: use loss='categorical_crossentropy'"),
        (X, Y + 1, DataError, r"labels must be 0 to 2; got labels from \d to 3"),
        (X, Y - 1, DataError, r"-1"),
        (X, None, ArgumentError, r"need targets: give y"),
        (np.where(X > 0.5, np.nan, X), Y, DataError, r"NaN|nan|finite"),
    ],
    ids=["channels first", "size", "rows", "one-hot", "high", "negative", "no y", "nan"],
)
def test_data_that_do_not_fit(x, y, error, message):
    with pytest.raises(error, match=message):
        compiled().fit(x, y, verbose=0)


def test_class_numbers_for_a_loss_of_rows():
    model = network()
    model.compile("sgd", "categorical_crossentropy")
    with pytest.raises(ShapeError, match=r"For class numbers use loss='sparse_categorical_crossentropy'"):
        model.fit(X, Y, verbose=0)


def test_a_column_of_targets_may_be_flat_and_labels_may_be_a_column():
    model = line()
    model.compile("sgd", "mse")
    x = RNG.random((6, 2))
    assert model.evaluate(x, np.ones(6), verbose=0) == model.evaluate(x, np.ones((6, 1)), verbose=0) == 1.0
    model = compiled()
    assert model.evaluate(X, Y[:, None], verbose=0) == model.evaluate(X, Y, verbose=0)


def test_calls_in_the_wrong_order_or_with_contradictions():
    with pytest.raises(NotBuiltError, match=r"Call model\.compile\(optimizer, loss\)"):
        network().fit(X, Y, verbose=0)
    with pytest.raises(NotBuiltError, match=r"Call model\.compile"):
        network().evaluate(X, Y, verbose=0)
    model = compiled()
    with pytest.raises(ArgumentError, match="not both"):
        model.fit(X, Y, validation_split=0.1, validation_data=(X, Y), verbose=0)
    for fraction in (1.0, -0.1, 0.999):
        with pytest.raises(ArgumentError, match="validation_split"):
            model.fit(X, Y, validation_split=fraction, verbose=0)
    with pytest.raises(ArgumentError, match=r"validation_data must be \(x, y\)"):
        model.fit(X, Y, validation_data=(X, Y, None, None), verbose=0)
    model.compile("sgd")
    with pytest.raises(NotBuiltError, match=r"without a loss.*; give compile\(loss"):
        model.fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="Unknown loss 'mxe'"):
        network().compile("sgd", "mxe")


@pytest.mark.parametrize("batch_size", [0, -1, 2.5])
def test_a_batch_size_that_is_none(batch_size):
    with pytest.raises(ArgumentError, match="batch_size"):
        compiled().fit(X, Y, batch_size, verbose=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 2.5},
        {"epochs": -1},
        {"initial_epoch": "0"},
        {"steps_per_epoch": 0},
        {"validation_steps": -2},
        {"validation_freq": 0},
    ],
    ids=str,
)
def test_counts_are_whole_numbers(wrong):
    with pytest.raises(ArgumentError, match=f"{next(iter(wrong))} must be a whole number of at least"):
        compiled().fit(X, Y, validation_data=[X, Y], verbose=0, **wrong)


def test_class_weight_without_targets():
    with pytest.raises(ArgumentError, match="class_weight needs targets"):
        compiled().fit(X, class_weight={0: 1.0}, verbose=0)


# Kinds of data


def test_whole_numbers_become_floats_with_the_same_values():
    model = line()
    model.set_weights([np.ones((2, 1)), np.zeros(1)])
    np.testing.assert_array_equal(model.predict(np.array([[200, 50]], np.uint8), verbose=0), [[250.0]])


def batches_of(size):
    for start in range(0, 50, size):
        yield X[start : start + size], Y[start : start + size]


@pytest.mark.parametrize(("size", "batch_size"), [(16, None), (10, 16)])
def test_a_stream_keeps_its_batches_unless_told(size, batch_size):
    one, other = compiled(), compiled()
    one.fit(lambda: batches_of(size), batch_size=batch_size, epochs=2, verbose=0)
    other.fit(X, Y, 16, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_array_equal(flat(one), flat(other))


def test_no_batch_of_a_generator_is_lost_between_epochs():
    one, other = compiled(), compiled()
    one.fit(batches_of(10), epochs=2, steps_per_epoch=2, verbose=0)
    other.fit(X[:40], Y[:40], 10, shuffle=False, verbose=0)
    np.testing.assert_array_equal(flat(one), flat(other))


def test_shuffling_changes_the_order_and_every_sample_is_used():
    model = line()
    model.compile(optimizers.SGD(0.0), "mse")
    order = []

    def watch(batch, logs):
        order.append(logs["loss"] * (batch + 1))

    x, y = np.zeros((8, 2)), np.sqrt(np.arange(8.0))
    model.fit(x, y, 1, callbacks=[callbacks.LambdaCallback(on_train_batch_end=watch)], verbose=0, seed=3)
    used = np.round(np.diff([0.0, *order])).astype(int).tolist()
    assert sorted(used) == list(range(8)) and used != list(range(8))


def test_float64_throughout():
    config.set_floatx("float64")
    try:
        model = compiled("adam", ["accuracy"])
        model.fit(X.astype("float64"), Y, verbose=0)
        assert {w.dtype.name for w in model.get_weights()} == {"float64"}
        assert model.predict(X, verbose=0).dtype == "float64"
    finally:
        config.set_floatx("float32")


def test_the_same_optimizer_goes_on_after_compile_and_a_new_one_begins():
    x, y = RNG.random((6, 2)), RNG.random((6, 1))
    optimizer = optimizers.Adam(0.1)
    once, twice = line(), line()
    once.compile(optimizers.Adam(0.1), "mse")
    twice.compile(optimizer, "mse")
    once.fit(x, y, epochs=4, verbose=0, shuffle=False)
    twice.fit(x, y, epochs=2, verbose=0, shuffle=False)
    twice.compile(optimizer, "mse")
    twice.fit(x, y, epochs=2, verbose=0, shuffle=False)
    np.testing.assert_array_equal(flat(once), flat(twice))
    twice.compile("adam", "mse")
    assert twice.optimizer.iterations == 0


def test_a_model_of_several_outputs_of_which_one_is_only_measured():
    x = Input((2,))
    model = Model(x, [layers.Dense(1, name="a")(x), layers.Dense(1, name="b")(x)])
    model.compile("sgd", {"a": "mse"}, metrics={"b": ["mae"]})
    before = model.get_layer("b").get_weights()
    data = RNG.random((6, 2))
    history = model.fit(data, {"a": np.ones((6, 1)), "b": np.ones((6, 1))}, verbose=0).history
    assert set(history) >= {"loss", "b_mae"}
    np.testing.assert_array_equal(before[0], model.get_layer("b").get_weights()[0])
