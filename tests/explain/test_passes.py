"""One number of a map, forward and back to the loss: every sum equals what the engine computed, for every
kind of layer and everything that may stand between it and the loss.
"""

import itertools
import json

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, config, explain
from kernelearn import layers as L
from kernelearn.errors import ArgumentError, ShapeError, UnknownNameError
from kernelearn.explain.passes.activations import activation_history, activations
from kernelearn.explain.passes.geometry import geometry_of
from tests.explain.layer_grid import GRID
from tests.explain.training_runs import data, small_network, train
from tests.sweeps import some

BOUNDS = {"float32": 1e-6, "float64": 1e-13}
KINDS = [name for name in GRID if not name.startswith("local")]


def plain(name, dtype):
    """A layer of the grid between two activations, and images and targets for it."""
    make, shape, _ = GRID[name]
    before = config.floatx()
    config.set_floatx(dtype)
    try:
        layer = make()
        model = Sequential([Input(shape), L.Activation("tanh"), layer, L.Activation("sigmoid"), L.Flatten()])
    finally:
        config.set_floatx(before)
    model.compile("sgd", "mse")
    rng = np.random.default_rng(1)
    return model, layer.name, rng.normal(size=(3, *shape)), rng.normal(size=(3, *model.outputs[0].shape[1:]))


# Each kind in one of the float types.
PAIRS = list(zip(KINDS, itertools.cycle(BOUNDS)))


@pytest.mark.parametrize(("name", "dtype"), some(itertools.product(KINDS, BOUNDS), quick=PAIRS))
def test_the_products_of_a_window_sum_to_the_engines_number(name, dtype):
    model, layer, x, _ = plain(name, dtype)
    rng = np.random.default_rng(2)
    first = explain.unit(model, layer, image=x[0])
    sizes = (
        *first.map.shape,
        explain.factors_of(model, x, _, layer, GRID[name][2][-1]).parts[0].delta.shape[-1],
    )
    for unit in [tuple(rng.integers(0, sizes)) for _ in range(3)] + [
        (0,) * len(sizes),
        tuple(n - 1 for n in sizes),
    ]:
        found = explain.unit(model, layer, int(unit[-1]), unit[:-1], x[0])
        assert found.relative_residual < BOUNDS[dtype]
        assert found.value == pytest.approx(1 / (1 + np.exp(-found.z)), rel=1e-12)
        assert found.z - found.total == pytest.approx(found.bias)
        assert all(abs(stage.residual) < 10 * BOUNDS[dtype] for stage in found.stages)


@pytest.mark.parametrize("name", KINDS)
def test_an_error_is_the_sum_over_what_reads_the_number(name):
    model, layer, x, y = plain(name, "float64")
    path = explain.delta(model, layer, x, y, image=1)
    assert path.residual < BOUNDS["float64"]
    assert path.hops[-1].end is not None
    assert np.isfinite([hop.relative_residual for hop in path.hops]).all()


def everything():
    """Branches, normalisations, pooling of all kinds, dropout, a transposed and a depthwise convolution."""
    given = Input((8, 8, 3))
    first = L.ReLU()(L.BatchNormalization()(L.Conv2D(6, 3, padding="same", name="a")(given)))
    second = L.Dropout(0.3)(L.Conv2D(6, 3, padding="same", name="b")(first))
    joined = L.Activation("gelu")(L.Add()([second, first]))
    wide = L.Conv2DTranspose(4, 3, strides=2, padding="same", name="t")(joined)
    both = L.LayerNormalization()(L.Concatenate()([wide, L.UpSampling2D(2)(joined)]))
    maps = L.MaxPooling2D(3, strides=2)(L.PReLU()(L.DepthwiseConv2D(3, name="dw")(both)))
    rows = L.Dense(7, activation="tanh", kernel_regularizer="l2", name="d")(L.GlobalAveragePooling2D()(maps))
    return Model(given, L.Dense(5, activation="softmax", name="o")(rows))


@pytest.fixture(scope="module")
def network():
    model = everything()
    model.compile("adam", "categorical_crossentropy")
    rng = np.random.default_rng(0)
    return model, rng.normal(size=(4, 8, 8, 3)), np.eye(5)[rng.integers(0, 5, 4)], rng.uniform(0.5, 2, 4)


@pytest.mark.parametrize("layer", ["a", "b", "t", "dw", "d", "o"])
@pytest.mark.parametrize("filter", [0, 2])
def test_a_path_goes_through_everything_up_to_the_loss(network, layer, filter):
    model, x, y, weights = network
    path = explain.delta(model, layer, x, y, filter, sample_weight=weights)
    assert path.residual < 1e-5
    assert path.hops[-1].end is not None and path.hops[-1].end.probability is not None
    assert not path.is_cut
    # Each hop goes on at the number with the largest part.
    for hop, following in zip(path.hops, path.hops[1:]):
        largest = max((part for part in hop.parts if part.buffer), key=lambda part: abs(part.term))
        assert (following.buffer, following.index, following.error) == (
            largest.buffer,
            largest.index,
            largest.error,
        )


def test_errors_are_derivatives_of_the_loss(network):
    model, x, y, weights = network
    path = explain.delta(model, "o", x, y, 3, image=2, sample_weight=weights)
    batch = explain.delta(model, "o", x, y, 3, image=2)
    p = path.hops[-1].end.probability
    assert path.error == pytest.approx((p - y[2, 3]) * weights[2] / 4, rel=1e-5)
    assert batch.error == pytest.approx((p - y[2, 3]) / 4, rel=1e-5)


def test_a_closed_unit_gets_nothing_and_a_lost_pool_neither():
    stack = [
        L.Conv2D(1, 1, activation="relu", name="c"),
        L.MaxPooling2D(2),
        L.Flatten(),
        L.Dense(1, name="d"),
    ]
    model = Sequential([Input((2, 2, 1)), *stack])
    model.compile("sgd", "mse")
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1)])
    x = np.array([[3.0, 1.0], [-2.0, 0.5]]).reshape(1, 2, 2, 1)
    won = explain.delta(model, "c", x, np.zeros((1, 1)), at=(0, 0))
    lost = explain.delta(model, "c", x, np.zeros((1, 1)), at=(0, 1))
    cut = explain.delta(model, "c", x, np.zeros((1, 1)), at=(1, 0))
    assert won.error == pytest.approx(6.0) and not won.is_cut
    assert lost.is_cut and "lost its pool" in str(lost)
    assert cut.is_cut and "nothing passes" in str(cut)
    forward = explain.unit(model, "c", at=(0, 1), image=x[0])
    assert not forward.pools[0].is_won and forward.pools[0].value == 3.0
    assert "lost to +3" in str(forward)


def test_a_dense_unit_and_a_unit_in_the_padding():
    model = Sequential(
        [Input((4, 4, 2)), L.Conv2D(3, 3, padding="same", name="c"), L.Flatten(), L.Dense(2, name="d")]
    )
    image = np.ones((4, 4, 2))
    corner = explain.unit(model, "c", 1, (0, 0), image)
    assert corner.window.inputs.sum() == 2 * 4 and (~corner.window.is_inside).sum() == 5
    assert "beside the image" in str(corner)
    dense = explain.unit(model, "d", 1, image=image)
    assert dense.position == () and dense.window.inputs.shape == (48,)


def test_everything_can_be_shown_and_written(network):
    model, x, y, _ = network
    unit, path = explain.unit(model, "b", image=x[0]), explain.delta(model, "b", x, y)
    for found in (unit, path):
        assert json.dumps(found.to_dict(), allow_nan=False)
        assert "<table>" in found._repr_html_() and len(str(found).splitlines()) > 5
    assert len(unit.terms()) == 3 * 3 * 6


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"layer": "re_lu"}, UnknownNameError, "layer with a kernel"),
        ({"filter": 6}, ArgumentError, "filters 0 to 5"),
        ({"at": (8, 0)}, ArgumentError, "positions 8 x 8"),
        ({"at": (1,)}, ArgumentError, "positions 8 x 8"),
        ({"image": np.ones((2, 8, 8, 3))}, ShapeError, "One image"),
        ({"image": np.ones((7, 8, 3))}, ShapeError, "8, 8, 3"),
        ({"image": None}, ArgumentError, "needs an image"),
        ({"step": 3}, ArgumentError, "recorded run"),
    ],
)
def test_what_is_not_there_is_said(wrong, error, words):
    given = {"layer": "a", "image": np.ones((8, 8, 3)), **wrong}
    with pytest.raises(error, match=words):
        explain.unit(everything(), **given)


@pytest.fixture(scope="module")
def run():
    return train(small_network(activation="relu"), "adam", ledger_every=3)


def test_a_recorded_step_is_computed_again(run):
    for step in (1, 3, 6):
        for layer in ("conv", "dense"):
            path = explain.delta(run, layer, *data(), step=step)
            assert path.step == step and path.recorded is not None
            assert path.error == pytest.approx(path.recorded, rel=1e-4)
            assert path.residual < 1e-6
            assert path.image in run.batch(step).images


def test_a_run_says_which_steps_and_images_it_can_follow(run):
    with pytest.raises(ArgumentError, match="all weights before the step"):
        explain.delta(run, "conv", *data(), step=8)
    absent = next(i for i in range(40) if i not in run.batch(6).images)
    with pytest.raises(ArgumentError, match="not in the batch of step 6"):
        explain.delta(run, "conv", *data(), step=6, image=absent)
    with pytest.raises(ArgumentError, match="was trained on image"):
        explain.delta(run, "conv", *(part[:5] for part in data()), step=6)
    from_record, known = explain.delta(run, "conv", step=6), explain.delta(run, "conv", *data(), step=6)
    assert from_record.error == pytest.approx(known.error, rel=1e-4)
    assert explain.unit(run, "conv").step == 8
    with pytest.raises(ArgumentError, match="not among the probe images"):
        explain.unit(run, "conv", image=10_000)


def test_one_picture_through_everything(run):
    found = explain.image(run, *data(), step=6)
    ledger = run.ledger("conv", 6)
    assert found.batch == 10 and found.label == data()[1][found.image]
    assert [one.layer.partition("_")[0] for one in found.layers] == ["conv", "activation", "flatten", "dense"]
    row = list(run.batch(6).images).index(found.image)
    _, gradients = explain.gradient_by_image(ledger)
    assert found.shares[0].own == pytest.approx(np.linalg.norm(gradients[row]))
    everyone = [explain.image(run, *data(), image=int(i), step=6) for i in run.batch(6).images]
    assert sum(one.shares[0].along for one in everyone) == pytest.approx(1.0)
    assert found.loss == max(one.loss for one in everyone)
    assert np.mean([one.loss for one in everyone]) == pytest.approx(found.batch_loss, rel=1e-5)
    x, y = data()
    model = run.model(6)
    model.compile("sgd", "sparse_categorical_crossentropy")
    chosen = slice(found.image, found.image + 1)
    assert found.loss_after == pytest.approx(model.evaluate(x[chosen], y[chosen], verbose=0), rel=1e-5)
    assert found.loss_before == pytest.approx(found.loss, rel=1e-5)
    assert "<table>" in found._repr_html_() and json.dumps(found.to_dict())


def test_all_weights_of_a_step_beside_each_other(run):
    table = explain.joint(run, 6)
    assert [name.partition("[")[0] for name in table["number"]] == [
        "conv/kernel",
        "conv/bias",
        "dense/kernel",
        "dense/bias",
    ]
    assert table["terms"] == [10 * 9, 10 * 9, 10, 10]
    change = run.update("dense", 6)
    assert table[2]["update"] == change.flat[np.abs(change).argmax()]
    assert len(explain.joint(run)) == 4
    with pytest.raises(ArgumentError, match="no ledger"):
        explain.joint(run, 5)


def test_an_activation_before_and_behind():
    model = Sequential([Input((4, 4, 1)), L.Conv2D(2, 1, name="c"), L.ReLU(name="r"), L.MaxPooling2D(2)])
    model.set_weights([np.array([[[[1.0, -1.0]]]]), np.array([0.0, -5.0])])
    x = np.arange(-8.0, 8.0).reshape(1, 4, 4, 1)
    found = explain.activation(model, "c", x)
    assert found.layer == "r" and found.kind == "relu"
    assert found.zeros == pytest.approx((9 + 13) / 32) and found.closed == found.zeros
    assert found.kept.tolist() == [0.25, 0.25] and not len(found.dead)
    model.set_weights([np.array([[[[1.0, -1.0]]]]), np.array([0.0, -50.0])])
    assert explain.activation(model, "c", x).dead.tolist() == [1]
    with pytest.raises(UnknownNameError):
        explain.activation(model, "max_pooling2d", x)
    with pytest.raises(ArgumentError, match="on images"):
        explain.activation(model, "c")


def test_an_activation_over_a_run(run):
    table = activation_history(run, "conv")
    assert table["step"] == run.model_steps.tolist()
    for step, share, dead in zip(table["step"], table["share set to 0"], table["dead channels"]):
        found = explain.activation(run, "conv", step=step)
        assert (found.zeros, len(found.dead)) == (share, dead)


def test_histories_and_hints_open_the_network_once(run, monkeypatch):
    opened = []
    untrained = type(run).untrained_model
    monkeypatch.setattr(type(run), "untrained_model", lambda self: opened.append(1) or untrained(self))
    activation_history(run, "conv")
    assert len(opened) == 1
    assert [layer for layer, _ in activations(run, ["conv", "conv", "dense"])][:2] == ["conv", "conv"]
    assert len(opened) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 5},
        {"kernel_size": (3, 2), "strides": 2, "padding": "same"},
        {"kernel_size": 3, "dilation_rate": (2, 1), "use_bias": False},
        {"kernel_size": 3, "groups": 3, "padding": "same", "strides": (1, 3)},
    ],
)
def test_geometry_is_that_of_the_layer(arguments):
    found = explain.geometry((17, 12, 3), filters=6, **arguments)
    layer = L.Conv2D(6, name="c", **arguments)
    model = Sequential([Input((17, 12, 3)), layer])
    assert found.output_shape == tuple(model.output_shape[1:])
    assert found.weights == layer.count_params()
    assert geometry_of(layer) == found
    assert found.weights_of_a_filter * 6 == found.weights


def test_a_filter_of_five_by_five_on_colours_has_76_numbers():
    found = explain.geometry((32, 32, 3), filters=20, kernel_size=5)
    assert (found.weights_of_a_filter, found.weights) == (76, 1520)
    assert "76 a filter" in found.formula
    with pytest.raises(ShapeError):
        explain.geometry((3, 3, 1), filters=1, kernel_size=5)
    with pytest.raises(ArgumentError, match="divisible by groups"):
        explain.geometry((8, 8, 3), filters=4, kernel_size=3, groups=2)
    with pytest.raises(ArgumentError, match="no convolution"):
        geometry_of(L.Dense(3))
