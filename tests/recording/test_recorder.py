"""What a Recorder writes is what the training had: compared with weights kept by hand and with equations."""

import copy
import pickle

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, config
from kernelearn.engine.operators import OPERATORS
from kernelearn.errors import ArgumentError, NonFiniteError, UnknownNameError
from kernelearn.layers import (
    Add,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    SeparableConv2D,
)
from kernelearn.optimizers import SGD
from kernelearn.recording import Recorder, Run
from kernelearn.regularizers import L2

from .helpers import KeepWeights, make_data, make_model, record

OPTIMIZERS = ["sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "lion"]


def test_training_is_bitwise_the_same_with_and_without(tmp_path):
    alone, (x, y) = make_model("adam"), make_data()
    alone.fit(x, y, epochs=3, batch_size=8, verbose=0, seed=0)
    recorded, _ = record(tmp_path, make_model("adam"), epochs=3, ledger_every=2, gradients_every=1)
    for mine, theirs in zip(recorded.get_weights(), alone.get_weights()):
        assert np.array_equal(mine, theirs)


def test_a_recorder_that_was_used_can_be_copied_and_pickled(tmp_path):
    """As scikit-learn's clone does with an estimator's callbacks."""
    (x, y), model = make_data(), make_model("adam")
    recorder = Recorder(tmp_path / "run", maps_every=2)
    model.fit(x, y, epochs=1, batch_size=8, verbose=0, callbacks=[recorder])
    for again in (copy.deepcopy(recorder), pickle.loads(pickle.dumps(recorder))):
        before = Run(tmp_path / "run")
        model.fit(x, y, epochs=1, batch_size=8, verbose=0, callbacks=[again])
        after = Run(tmp_path / "run")
        assert after.last_step > before.last_step
        assert len(after.map_steps) > len(before.map_steps)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_and_slots_of_every_step(tmp_path, optimizer):
    keeper = KeepWeights()
    _, run = record(
        tmp_path, make_model(optimizer), callbacks=[keeper], gradients_every=1, layers="all", epochs=2
    )
    assert run.steps.tolist() == list(range(7))
    assert run.layers == ["conv", "norm", "dense"]
    for step, weights in enumerate(keeper.weights):
        for path, array in weights.items():
            layer, _, name = path.rpartition("/")
            assert np.array_equal(run.kernels(layer, step, name), array)
        for slot, array in run.optimizer_state("conv", step).items():
            assert np.array_equal(array, keeper.slots[step][f"optimizer/conv/kernel/{slot}"])
    assert len(run.optimizer_state("conv", 3)) == len(keeper.slots[0]) / 6
    assert run.update_rule("conv")["kind"] == run.optimizer["kind"] == run_kind(optimizer)


def run_kind(name):
    from kernelearn import optimizers

    return optimizers.get(name).kind


def test_updates_sum_to_the_change_of_the_whole_run(tmp_path):
    _, run = record(tmp_path, make_model("adam"))
    total = sum(run.update("conv", step) for step in run.steps[1:])
    change = run.kernels("conv", 6).astype("float64") - run.kernels("conv", 0)
    assert np.allclose(total, change, rtol=0, atol=1e-15)


def test_plain_sgd_is_minus_rate_times_the_recorded_gradient(tmp_path):
    _, run = record(tmp_path, make_model("sgd"), gradients_every=1)
    rates = dict(zip(*run.scalars("learning_rate")))
    for step in range(1, 7):
        before, gradient = run.kernels("conv", step - 1), run.gradient("conv", step)
        assert np.array_equal(run.kernels("conv", step), before - gradient * float(rates[step]))


def test_trace_follows_one_weight_and_parts_of_it(tmp_path):
    _, run = record(tmp_path)
    steps, values = run.trace("conv", (1, 2, 0, 1))
    assert steps.tolist() == run.steps.tolist()
    assert values.tolist() == [run.kernels("conv", k)[1, 2, 0, 1] for k in steps]
    assert run.trace("conv", (slice(None), 0))[1].shape == (7, 3, 1, 2)
    assert run.trace("conv")[1].shape == (7, 3, 3, 1, 2)


def test_numbers_and_images_of_the_steps(tmp_path):
    x, y = make_data()
    model, run = record(tmp_path, fit={"validation_data": (x, y)})
    history = model.history.history
    assert run.scalar_names[:3] == ["loss", "learning_rate", "accuracy"]
    steps, losses = run.scalars("loss")
    sizes = np.array([len(run.batch(k).images) for k in steps])
    assert steps.tolist() == [1, 2, 3, 4, 5, 6] and sizes.tolist() == [8, 8, 4] * 2
    assert np.allclose((losses * sizes).reshape(2, 3).sum(1) / 20, history["loss"])
    assert run.scalars("accuracy")[1][[2, 5]].tolist() == history["accuracy"]
    assert run.scalars("val_loss")[0].tolist() == [3, 6]
    assert run.scalars("val_loss")[1].tolist() == history["val_loss"]
    for epoch in (slice(0, 3), slice(3, 6)):
        seen = np.concatenate([run.batch(k).images for k in steps[epoch]])
        assert sorted(seen) == list(range(20)) and seen.tolist() != list(range(20))
    for step in steps:
        assert np.array_equal(run.batch(step).labels, y[run.batch(step).images])
    assert [k for k in steps if 5 in run.batch(k).images] == run.steps_of_image(5).tolist()


def test_loss_of_a_step_is_that_of_its_images_and_the_weights_before(tmp_path):
    _, run = record(tmp_path, make_model(norm=False), layers="all")
    x, y = make_data()
    for step, loss in zip(*run.scalars("loss")):
        images = run.batch(int(step)).images
        model = run.model(int(step) - 1)
        model.compile("sgd", "sparse_categorical_crossentropy")
        assert model.evaluate(x[images], y[images], verbose=0) == pytest.approx(loss, rel=1e-6)


def models_for_the_ledger():
    x = Input((6, 6, 4))
    shared = Conv2D(4, 3, padding="same", name="conv")
    yield "shared", Model(x, Dense(3, name="dense")(Flatten()(shared(shared(x)))))
    ways = {
        "strided": Conv2D(4, 3, strides=2, padding="same", name="conv"),
        "dilated": Conv2D(4, 2, dilation_rate=2, name="conv"),
        "grouped": Conv2D(4, 3, groups=2, name="conv"),
        "transposed": Conv2DTranspose(3, 3, strides=2, padding="same", name="conv"),
        "depthwise": DepthwiseConv2D(3, depth_multiplier=2, name="conv"),
        "penalised": Conv2D(4, 3, kernel_regularizer=L2(0.1), name="conv"),
        "channels_first": Conv2D(4, 3, data_format="channels_first", name="conv"),
    }
    for name, layer in ways.items():
        yield name, Sequential([Input((6, 6, 4)), layer, Flatten(), Dense(3, name="dense")])


def gradient_of(part, kernel_shape):
    """The equation of the gradient, from the two factors."""
    if part.kind == "dense":
        return OPERATORS["dense_grad_kernel"].run(part.x, part.delta)
    attrs = {k: part.attrs[k] for k in ("stride", "padding", "dilation", "groups")}
    pair = (part.delta, part.x) if part.kind == "conv_transpose" else (part.x, part.delta)
    return OPERATORS["conv_grad_kernel"].run(*pair, kernel_size=kernel_shape[:-2], **attrs)


@pytest.mark.parametrize("case", [name for name, _ in models_for_the_ledger()])
def test_factors_give_the_gradient_of_the_engine(tmp_path, case):
    model = dict(models_for_the_ledger())[case]
    model.compile("adam", "mse")
    x = make_data(shape=(6, 6, 4))[0]
    _, run = record(tmp_path, model, data=(x, np.ones((20, 3), "float32")), ledger_every=2)
    assert run.ledger_steps.tolist() == [1, 2, 4, 6]
    for step in run.ledger_steps:
        for layer in ("conv", "dense"):
            factors = run.ledger(layer, step)
            parts = [gradient_of(part, factors.kernel_shape) for part in factors.parts]
            assert np.allclose(sum(parts).reshape(factors.gradient.shape), factors.from_data, atol=1e-6)
            assert np.allclose(
                factors.bias_gradient, sum(_rows(p.delta).sum(0) for p in factors.parts), atol=1e-5
            )
            assert np.array_equal(factors.images, run.batch(step).images) and factors.labels is None
            assert np.array_equal(factors.gradient, run.gradient(layer, step))
    factors = run.ledger("conv", 2)
    assert len(factors.parts) == (2 if case == "shared" else 1)
    penalty = factors.gradient - factors.from_data
    expected = 0.2 * run.kernels("conv", 1) if case == "penalised" else np.zeros_like(penalty)
    assert np.allclose(penalty, expected, atol=1e-6)


def _rows(array):
    return array.reshape(-1, array.shape[-1])


def test_both_kernels_of_a_separable_layer(tmp_path):
    model = Sequential([SeparableConv2D(3, 3, input_shape=(6, 6, 4), name="conv"), GlobalAveragePooling2D()])
    model.compile("sgd", "mse")
    _, run = record(tmp_path, model, data=(make_data(shape=(6, 6, 4))[0], np.ones((20, 3))))
    assert run.weights("conv") == ["depthwise_kernel", "pointwise_kernel", "bias"]
    for name in run.weights("conv")[:2]:
        factors = run.ledger("conv", 1, name)
        found = gradient_of(factors.parts[0], factors.kernel_shape)
        assert np.allclose(found.reshape(factors.gradient.shape), factors.gradient, atol=1e-6)
    with pytest.raises(UnknownNameError, match="depthwise_kernel"):
        run.kernels("conv", 0)
    with pytest.raises(UnknownNameError, match="with a ledger"):
        run.ledger("conv", 1, "bias")


def test_a_ledger_brings_the_state_on_both_sides_of_its_step(tmp_path):
    keeper = KeepWeights()
    _, run = record(
        tmp_path,
        make_model("adam"),
        epochs=4,
        kernels_every=5,
        ledger_every=4,
        full_layers=(),
        callbacks=[keeper],
    )
    assert run.ledger_steps.tolist() == [1, 4, 8, 12] == run.gradient_steps.tolist()
    assert run.steps.tolist() == [0, 1, 3, 4, 5, 7, 8, 10, 11, 12]
    for step in run.ledger_steps:
        for near in (step - 1, step):
            state = run.optimizer_state("conv", near)
            assert np.array_equal(state["velocity"], keeper.slots[near]["optimizer/conv/kernel/velocity"])
            assert np.array_equal(run.kernels("conv", near), keeper.weights[near]["conv/kernel"])
    with pytest.raises(ArgumentError, match=r"Step 6 .* the nearest is 5"):
        run.kernels("conv", 6)


def test_feature_maps_of_the_probe_images(tmp_path):
    x, _ = make_data()
    model, run = record(tmp_path, maps_every=3, probe_images=4, layers="all")
    assert run.map_steps.tolist() == [0, 3, 6] and run.map_layers == ["conv", "norm", "dense"]
    assert np.array_equal(run.probe_images, x[run.probe_ids]) and len(run.probe_ids) == 4
    for layer in run.map_layers:
        expected = model.feature_maps(run.probe_images, [layer])[0]
        assert np.array_equal(run.maps(layer, 6), expected)
    assert not np.array_equal(run.maps("conv", 0), run.maps("conv", 6))


def test_probe_images_given_by_hand_and_none_at_all(tmp_path):
    images = make_data(3)[0]
    _, run = record(tmp_path / "given", probe_images=images)
    assert np.array_equal(run.probe_images, images) and run.probe_ids.tolist() == [-1] * 3
    _, run = record(tmp_path / "none", probe_images=0)
    assert run.probe_images is None and len(run.map_steps) == 0


def test_model_of_a_step(tmp_path):
    keeper = KeepWeights()
    model, run = record(tmp_path, make_model("adam"), callbacks=[keeper])
    # Behind every epoch, and on both sides of every ledger.
    assert run.model_steps.tolist() == [0, 1, 2, 3, 4, 5, 6]
    for step in run.model_steps:
        for weight, expected in zip(run.model(step).get_weights(), keeper.weights[step].values()):
            assert np.array_equal(weight, expected)
    for weight, expected in zip(run.model().get_weights(), model.get_weights()):
        assert np.array_equal(weight, expected)


def test_float64_is_recorded_as_float64(tmp_path):
    config.set_floatx("float64")
    try:
        keeper = KeepWeights()
        _, run = record(tmp_path, make_model(), data=make_data(dtype="float64"), callbacks=[keeper])
    finally:
        config.set_floatx("float32")
    assert run.kernels("conv", 4).dtype == np.float64
    assert np.array_equal(run.kernels("conv", 4), keeper.weights[4]["conv/kernel"])
    factors = run.ledger("conv", 1)
    assert factors.x.dtype == factors.delta.dtype == np.float64
    difference = gradient_of(factors.parts[0], factors.kernel_shape) - factors.gradient
    assert np.abs(difference).max() <= 1e-13 * np.abs(factors.gradient).max()


def test_frozen_layers_are_left_out_unless_named(tmp_path):
    model = make_model()
    model.get_layer("conv").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    _, run = record(tmp_path / "chosen", model)
    assert run.layers == ["norm", "dense"]
    _, run = record(tmp_path / "named", model, layers=["conv", "dense"])
    assert run.layers == ["conv", "dense"] and run.ledger("dense", 1).kind == "dense"
    assert np.array_equal(run.kernels("conv", 6), run.kernels("conv", 0))
    assert run.update_rule("conv") == {} and run.optimizer_state("conv", 6) == {}
    with pytest.raises(ArgumentError, match=r"was frozen at step 1.*none in this run"):
        run.ledger("conv", 1)


def test_layers_that_are_chosen_by_themselves(tmp_path):
    layers = [
        Conv1D(2, 3, input_shape=(8, 1), name="conv"),
        Flatten(),
        Dense(600, name="large"),
        Dense(3, name="small"),
    ]
    model = Sequential(layers)
    model.compile("sgd", "mse")
    _, run = record(tmp_path, model, data=(make_data(shape=(8, 1))[0], np.ones((20, 3))))
    assert run.layers == ["conv", "small"]


def test_layers_of_models_in_models(tmp_path):
    inner = Sequential(
        [Conv2D(2, 3, input_shape=(6, 6, 1), name="conv"), GlobalAveragePooling2D()], name="inner"
    )
    x = Input((6, 6, 1))
    model = Model(x, Dense(3, name="dense")(inner(x)))
    model.compile("adam", "mse")
    keeper = KeepWeights()
    data = (make_data()[0], np.ones((20, 3), "float32"))
    _, run = record(tmp_path, model, data=data, callbacks=[keeper], maps_every=3)
    assert run.layers == ["inner/conv", "dense"]
    assert np.array_equal(run.kernels("inner/conv", 5), keeper.weights[5]["inner/conv/kernel"])
    factors = run.ledger("inner/conv", 1)
    assert np.allclose(gradient_of(factors.parts[0], factors.kernel_shape), factors.gradient, atol=1e-6)
    assert run.maps("inner/conv", 3).shape == (8, 4, 4, 2)


def test_dense_on_sequences_and_one_hot_labels(tmp_path):
    model = Sequential(
        [Dense(4, input_shape=(5, 3), name="rows"), GlobalAveragePooling1D(), Dense(3, "softmax")]
    )
    model.compile("sgd", "categorical_crossentropy")
    x, y = make_data(shape=(5, 3))
    _, run = record(tmp_path, model, data=(x, np.eye(3)[y]))
    factors = run.ledger("rows", 1)
    assert factors.x.shape == (8, 5, 3) and factors.delta.shape == (8, 5, 4)
    assert np.allclose(gradient_of(factors.parts[0], (3, 4)), factors.gradient, atol=1e-6)
    assert np.array_equal(factors.labels, y[factors.images])


def test_clipping_by_all_gradients_keeps_their_norm(tmp_path):
    _, run = record(tmp_path, make_model(SGD(0.1, global_clipnorm=0.01)), gradients_every=1)
    assert run.optimizer["clipping"] == ["clip_by_global_norm", 0.01]
    for step in (1, 6):
        factor = 0.01 / run.global_norm(step)
        expected = run.kernels("conv", step - 1) - 0.1 * factor * run.gradient("conv", step)
        assert np.allclose(run.kernels("conv", step), expected, atol=1e-7)
    assert record(tmp_path / "plain", make_model())[1].global_norm(1) is None


def test_streams_have_no_rows_but_an_order(tmp_path):
    x, y = make_data(24)
    batches = [(x[:4], y[:4]), (x[4:24], y[4:24])]
    model = make_model()
    model.fit(lambda: iter(batches), epochs=2, verbose=0, callbacks=[Recorder(tmp_path, layers="all")])
    run = Run(tmp_path)
    assert [run.batch(k).images.tolist() for k in (1, 2)] == [list(range(4)), list(range(4, 24))]
    assert run.manifest["segments"][0]["ids"] == "order" and run.probe_images is None


def test_batches_larger_than_expected_get_room(tmp_path):
    x, y = make_data(100)
    batches = [(x[:4], y[:4]), (x[4:70], y[4:70]), (x[70:], y[70:])]
    keeper = KeepWeights()
    recorder = Recorder(tmp_path, ledger_every=1)
    make_model().fit(lambda: iter(batches), epochs=1, verbose=0, callbacks=[recorder, keeper])
    run = Run(tmp_path)
    assert len(run.manifest["segments"]) == 2 and run.steps.tolist() == [0, 1, 2, 3]
    assert [len(run.batch(k).images) for k in (1, 2, 3)] == [4, 66, 30]
    for step in (1, 2, 3):
        factors = run.ledger("conv", step)
        assert np.allclose(gradient_of(factors.parts[0], factors.kernel_shape), factors.gradient, atol=1e-6)
        assert np.array_equal(run.kernels("conv", step), keeper.weights[step]["conv/kernel"])


def test_a_step_that_is_not_finite_is_no_update(tmp_path):
    model = make_model(SGD(1e30), norm=False)
    with pytest.raises(NonFiniteError):
        record(tmp_path / "ended", model)
    run = Run(tmp_path / "ended")
    assert run.status == "interrupted" and run.steps.tolist() == list(range(model.optimizer.iterations + 1))
    model, run = record(tmp_path / "on", make_model(SGD(1e30), norm=False), fit={"terminate_on_nan": False})
    bad = [event for event in run.events if event["kind"] == "not finite"]
    assert bad and run.last_step == 6 - len(bad) == model.optimizer.iterations


@pytest.mark.parametrize(
    "options",
    [
        {"kernels_every": 0},
        {"ledger_every": -1},
        {"maps_every": 1.5},
        {"max_bytes": 0},
        {"kernels_every": True},
    ],
)
def test_wrong_arguments(tmp_path, options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        Recorder(tmp_path, **options)


def test_unknown_layers_and_an_empty_folder_name(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'conv'"):
        record(tmp_path, layers=["convv"])
    with pytest.raises(ArgumentError, match="run_dir is empty"):
        Recorder("")


def test_metrics_for_each_class_have_no_number_of_a_step(tmp_path):
    from kernelearn.metrics import AUC, F1Score

    model, (x, y) = make_model(), make_data()
    model.compile("adam", "categorical_crossentropy", metrics=[AUC(), F1Score()])
    _, run = record(tmp_path, model, data=(x, np.eye(3)[y]))
    assert run.scalar_names[2:4] == ["auc", "f1_score"]
    assert np.isfinite(run.scalars("auc")[1]).all() and np.isnan(run.scalars("f1_score")[1]).all()


def test_several_inputs_and_outputs(tmp_path):
    conv, a, b = Conv2D(2, 3, name="conv"), Input((6, 6, 1)), Input((6, 6, 1))
    both = Flatten()(Add()([conv(a), conv(b)]))
    model = Model([a, b], [Dense(3, name="one")(both), Dense(1, name="two")(both)])
    model.compile("sgd", ["mse", "mse"])
    x, _ = make_data()
    targets = [np.ones((20, 3)), np.ones((20, 1))]
    _, run = record(tmp_path, model, data=([x, x + 1], targets))
    assert run.scalar_names[:4] == ["loss", "learning_rate", "one_loss", "two_loss"]
    assert [len(images) for images in run.probe_images] == [8, 8] and run.maps("two", 0).shape == (8, 1)
    factors = run.ledger("conv", 1)
    first, second = factors.parts
    assert np.allclose(second.x, first.x + 1) or np.allclose(first.x, second.x + 1)
    total = sum(gradient_of(part, factors.kernel_shape) for part in factors.parts)
    assert np.allclose(total, factors.gradient, atol=1e-5)
