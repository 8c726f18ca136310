"""Whole networks: out and in again, trained after that, recorded and explained."""

import numpy as np
import pytest

from kernelearn import Model, explain, load_model, losses, ops
from kernelearn.conversion.onnx import from_onnx, to_onnx
from kernelearn.errors import ArgumentError
from kernelearn.layers import BatchNormalization, Conv2D, Dense
from kernelearn.models import zoo
from kernelearn.recording import Recorder, Run
from tests.conversion.onnx import graphs
from tests.conversion.onnx.graphs import model, node, numbers
from tests.conversion.onnx.random_networks import images, network, randomize
from tests.rounding import assert_same_but_for_rounding
from tests.sweeps import some

TERMS = 3000  # additions and multiplications behind an entry of a small network


def check_round_trip(made, layout, x):
    """Out and in again; `tests/parity/live_onnx.py` has the same networks computed by ONNX Runtime."""
    back = from_onnx(to_onnx(made, layout))
    assert_same_but_for_rounding(back.predict(x, verbose=0), made.predict(x, verbose=0), TERMS)


def sorted_weights(made):
    """The weights that training can change, as bytes, whatever their order and shape."""
    return sorted(np.sort(w.numpy().ravel()).tobytes() for w in made.trainable_weights)


@pytest.mark.parametrize("seed", some(range(24), quick=8))
def test_random_networks(seed):
    made = network(seed)
    check_round_trip(made, ("NHWC", "NCHW")[seed % 2], images(made, seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24, 200))
def test_more_random_networks(seed):
    made = network(seed)
    check_round_trip(made, ("NHWC", "NCHW")[seed % 2], images(made, seed))


@pytest.mark.parametrize("name", some(["lenet", "vgg_small", "resnet20"], quick=["resnet20"]))
def test_the_zoo_comes_back_as_it_went(name):
    made = zoo.get(name)((28, 28, 1) if name == "lenet" else (32, 32, 3), 10)
    randomize(made, np.random.default_rng(0))
    x = images(made, 0, 2)
    proto = to_onnx(made)
    back = from_onnx(proto)
    assert_same_but_for_rounding(back.predict(x, verbose=0), made.predict(x, verbose=0), TERMS)
    assert sorted_weights(back) == sorted_weights(made)
    named = {layer.name: layer for layer in back.layers}
    for layer in made.flat_layers():
        if isinstance(layer, Conv2D | Dense | BatchNormalization):
            for ours, theirs in zip(layer.get_weights(), named[layer.name].get_weights(), strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_large_network_of_the_zoo():
    made = zoo.get("resnet18")((64, 64, 3), 10)
    check_round_trip(made, "NCHW", images(made, 0, 2))


def imported():
    """A network as PyTorch exports it: channels first, flattened, with names of its own."""
    weights = {
        "body.0.weight": numbers(6, 1, 3, 3) / 3,
        "body.0.bias": numbers(6) / 9,
        "body.1.weight": np.ones(6, np.float32),
        "body.1.bias": np.zeros(6, np.float32),
        "body.1.running_mean": numbers(6) / 9,
        "body.1.running_var": np.ones(6, np.float32),
        "head.weight": numbers(10, 54) / 8,
        "head.bias": numbers(10) / 9,
    }
    nodes = [
        node("Conv", "x", "body.0.weight", "body.0.bias", name="/body/0/Conv", outputs=("a",), pads=[1] * 4),
        node("BatchNormalization", "a", *list(weights)[2:6], name="/body/1/BN", outputs=("b",)),
        node("Relu", "b", name="/body/2/Relu", outputs=("c",)),
        node(
            "MaxPool",
            "c",
            name="/body/3/MaxPool",
            outputs=("d",),
            kernel_shape=[3, 3],
            strides=[2, 2],
            pads=[0] * 4,
        ),
        node("Flatten", "d", name="/Flatten", outputs=("e",)),
        node("Gemm", "e", "head.weight", "head.bias", name="/head/Gemm", transB=1),
    ]
    return model(nodes, (1, 1, 8, 8), weights, 17)


def digits(count=200):
    """Pictures of ten classes, each a stroke at another place."""
    random = np.random.default_rng(0)
    y = random.integers(0, 10, count)
    x = random.normal(scale=0.2, size=(count, 8, 8, 1))
    x[np.arange(count), y % 8, :, 0] += 1
    x[np.arange(count), :, y // 2, 0] += 1
    return x.astype(np.float32), y


def test_an_imported_network_is_trained_recorded_and_explained(tmp_path):
    made = from_onnx(imported())
    assert [layer.name for layer in made.layers] == [
        "x", "body.0", "body.1", "body.2", "body.3", "flatten", "head",
    ]  # fmt: skip
    x, y = digits()
    made.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    before = made.evaluate(x, y, verbose=0)[0]
    recorder = Recorder(tmp_path / "run", ledger_every=3)
    made.fit(x, y, epochs=15, batch_size=20, verbose=0, callbacks=[recorder])
    assert made.evaluate(x, y, verbose=0)[0] < before / 2
    run = Run(tmp_path / "run")
    for layer, weight in (("body.0", (1, 1, 0, 2)), ("head", (5, 3))):
        book = explain.ledger(run, layer, int(run.ledger_steps[1]), weight=weight)
        assert book.relative_residual < 1e-5 and book.gradient != 0


def test_a_trained_network_goes_back_to_where_it_came_from(tmp_path):
    proto = imported()
    made = from_onnx(proto)
    x, y = digits(40)
    made.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    made.fit(x, y, epochs=1, verbose=0)
    made.export(tmp_path / "m.onnx", input_layout="NCHW")
    again = load_model(tmp_path / "m.onnx")
    assert_same_but_for_rounding(again.predict(x, verbose=0), made.predict(x, verbose=0), TERMS)
    made.save(tmp_path / "m.kernelearn")
    own = load_model(tmp_path / "m.kernelearn")
    np.testing.assert_array_equal(own.predict(x, verbose=0), made.predict(x, verbose=0))
    assert own.metadata["onnx"]["inputs"] == {"x": [0, 3, 1, 2]}


def test_an_imported_network_is_frozen_and_gets_a_new_head():
    made = from_onnx(imported())
    made.freeze(until="body.3")
    other = made.replace_head(3)
    x, y = digits(30)
    other.compile("sgd", "sparse_categorical_crossentropy")
    before = made.get_layer("body.0").get_weights()[0].copy()
    other.fit(x, y % 3, epochs=1, verbose=0)
    np.testing.assert_array_equal(made.get_layer("body.0").get_weights()[0], before)


def test_images_are_channels_last_unless_the_file_says_otherwise():
    proto = imported()
    assert from_onnx(proto).input_shape == (None, 8, 8, 1)
    assert from_onnx(proto, input_layout="NHWC").input_shape == (None, 1, 8, 8)
    features = model([node("Gemm", "x", "w")], (2, 3), {"w": numbers(3, 4)})
    assert from_onnx(features).input_shape == (None, 3)
    rows = model([node("MatMul", "x", "w")], (2, 5, 3), {"w": numbers(3, 4)})
    assert from_onnx(rows).input_shape == (None, 5, 3) and from_onnx(rows).output_shape == (None, 5, 4)
    line = model([node("Conv", "x", "w")], (2, 3, 9), {"w": numbers(4, 3, 2)})
    assert from_onnx(line).input_shape == (None, 9, 3) and from_onnx(line).output_shape == (None, 8, 4)
    with pytest.raises(ArgumentError, match="input_layout must be one of"):
        from_onnx(proto, input_layout="channels_last")


def test_inputs_may_be_replaced_and_open_sizes_given():
    proto = model([node("Conv", "x", "w")], (2, 3, 8, 8), {"w": numbers(4, 3, 2, 2)})
    for axis in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "open"
    assert from_onnx(proto).input_shape == (None, None, None, 3)
    assert from_onnx(proto, input_shape={"x": (None, 3, 6, 7)}).input_shape == (None, 6, 7, 3)
    two = model([node("Add", "x", "y", outputs=("z",))], (2, 3), outputs=("z",))
    two.graph.input.append(two.graph.input[0])
    two.graph.input[1].name = "y"
    assert len(from_onnx(two).inputs) == 2
    row = np.arange(3, dtype=np.float32)
    x = numbers(2, 3)
    assert_same_but_for_rounding(from_onnx(two, constants={"y": row}).predict(x, verbose=0), x + row, 2)


def test_what_is_folded_or_shared_is_noted():
    weights = {"w": numbers(3, 3, 1, 1), "b": numbers(3)}
    nodes = [node("Conv", "x", "w", "b", outputs=("a",)), node("Conv", "a", "w", "b")]
    made = from_onnx(model(nodes, (2, 3, 4, 4), weights))
    assert len(made.layers) == 2 and made.count_params() == 12  # one layer, called twice
    assert "no BatchNormalization found" in made.metadata["onnx"]["notes"][0]
    nodes = [node("Conv", "x", "w", "b", outputs=("a",), strides=[2, 2]), node("Conv", "a", "w", "b")]
    made = from_onnx(model(nodes, (2, 3, 4, 4), weights))
    assert "the weight 'b' is used in several places" in made.metadata["onnx"]["notes"][0]


def test_maps_of_rows_joined_keep_their_order():
    """Two flattened maps joined, which a Dense layer reads: the rows of both are followed."""
    x, left, right, kernel = numbers(2, 3, 4, 5), numbers(2, 3, 1, 1), numbers(4, 3, 2, 2), numbers(88, 3)
    nodes = [
        node("Conv", "x", "left", outputs=("a",)),
        node("Flatten", "a", outputs=("b",)),
        node("Conv", "x", "right", outputs=("c",)),
        node("Flatten", "c", outputs=("d",)),
        node("Concat", "d", "b", outputs=("e",), axis=1),
        node("Softmax", "e", outputs=("f",), axis=1),
        node("MatMul", "f", "kernel", outputs=("y",)),
    ]
    proto = model(nodes, x.shape, {"left": left, "right": right, "kernel": kernel}, 13)
    rows = np.concatenate([graphs.conv(x, w).reshape(2, -1) for w in (right, left)], 1)
    weights = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    graphs.check(proto, x, weights @ kernel)


def test_maps_of_any_size_stay_open():
    """A residual network as exporters write it, with open heights and widths."""
    weights = {
        "stem.weight": numbers(4, 3, 3, 3),
        "deep.weight": numbers(4, 4, 3, 3),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "fc.weight": numbers(2, 4),
        "fc.bias": numbers(2),
    }
    nodes = [
        node("Conv", "x", "stem.weight", outputs=("a",), pads=[1] * 4, strides=[2, 2]),
        node("MaxPool", "a", outputs=("b",), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        node("Conv", "b", "deep.weight", outputs=("c",), pads=[1] * 4),
        node("Add", "b", "c", outputs=("d",)),
        node("Resize", "d", "", "scales", outputs=("e",), mode="linear"),
        node("GlobalAveragePool", "e", outputs=("f",)),
        node("Flatten", "f", outputs=("g",)),
        node("Gemm", "g", "fc.weight", "fc.bias", transB=1),
    ]
    proto = model(nodes, (2, 3, 9, 9), weights, 13)
    for axis in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "open"
    made = from_onnx(proto)
    assert made.input_shape == (None, None, None, 3)
    for size in ((9, 9), (12, 7)):
        x = numbers(2, 3, *size)
        a = graphs.conv(x, weights["stem.weight"], None, [2, 2], [(1, 1), (1, 1)])
        b = graphs.pool(a, (3, 3), [2, 2], [(1, 1), (1, 1)], [1, 1], False, "max")
        d = b + graphs.conv(b, weights["deep.weight"], None, None, [(1, 1), (1, 1)])
        e = linear_twice(linear_twice(d, 2), 3)
        expected = e.mean((2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]
        graphs.check(proto, x, expected, 2000)


def linear_twice(x, axis):
    """An axis of twice the size, linearly between the centres of pixels."""
    x = np.moveaxis(x, axis, -1)
    wide = np.concatenate([x[..., :1], x, x[..., -1:]], -1)
    before, here, behind = wide[..., :-2], wide[..., 1:-1], wide[..., 2:]
    pairs = np.stack([0.25 * before + 0.75 * here, 0.75 * here + 0.25 * behind], -1)
    return np.moveaxis(pairs.reshape(*x.shape[:-1], -1), -1, axis)


class Own(Model):
    """A model with a call of its own."""

    def __init__(self):
        super().__init__()
        self.conv = Conv2D(4, 3, padding="same")
        self.head = Dense(3)

    def call(self, x):
        y = self.conv(x)
        return self.head(ops.mean(ops.maximum(y, 0.1 * y), axis=(1, 2)))


def test_models_with_a_call_of_their_own_are_written():
    made = Own()
    made.build((None, 6, 5, 2))
    x = images(made, 0)
    back = from_onnx(to_onnx(made))
    assert_same_but_for_rounding(back.predict(x, verbose=0), made.predict(x, verbose=0), TERMS)
    assert back.count_params() == made.count_params()
