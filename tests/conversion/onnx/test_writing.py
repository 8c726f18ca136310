"""What is written: nodes, names, layouts, versions; and what is refused before anything is written."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from kernelearn import Model, Sequential, load_model, ops
from kernelearn.conversion.onnx import from_onnx, to_onnx
from kernelearn.errors import ArgumentError, NotBuiltError
from kernelearn.layers import (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GroupNormalization,
    Input,
    Lambda,
    MaxPooling2D,
    ReLU,
)
from tests.rounding import assert_same_but_for_rounding


def network():
    return Sequential(
        [
            Input((8, 8, 3), name="picture"),
            Conv2D(4, 3, strides=2, padding="same", name="first"),
            BatchNormalization(name="norm"),
            ReLU(name="positive"),
            AveragePooling2D(3, 1, "same", name="means"),
            Conv2D(2, 1, name="second"),
            Flatten(name="flat"),
            Dense(5, activation="softmax", name="classes"),
        ],
        name="small",
    )


def kinds(proto):
    return [node.op_type for node in proto.graph.node if node.op_type != "Constant"]


def attributes(proto, op_type):
    node = next(node for node in proto.graph.node if node.op_type == op_type)
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def test_windows_follow_each_other_without_turning_maps():
    proto = to_onnx(network())
    assert kinds(proto) == [
        "Transpose", "Conv", "BatchNormalization", "Relu", "AveragePool", "Conv", "Transpose", "Reshape",
        "Gemm", "Softmax",
    ]  # fmt: skip
    assert kinds(to_onnx(network(), input_layout="NCHW"))[0] == "Conv"


def test_every_attribute_is_written_with_explicit_pads():
    proto = to_onnx(network())
    assert attributes(proto, "Conv") == {
        "kernel_shape": [3, 3],
        "strides": [2, 2],
        "pads": [0, 0, 1, 1],
        "dilations": [1, 1],
        "group": 1,
    }
    pool = attributes(proto, "AveragePool")
    assert (pool["pads"], pool["ceil_mode"], pool["count_include_pad"]) == ([1, 1, 1, 1], 0, 0)
    assert attributes(proto, "BatchNormalization")["epsilon"] == pytest.approx(1e-3)


def test_the_version_is_one_that_old_runtimes_take():
    proto = to_onnx(network())
    assert (proto.ir_version, proto.opset_import[0].version, len(proto.opset_import)) == (8, 18, 1)
    onnx.checker.check_model(proto, full_check=True)


def test_names_of_layers_weights_inputs_and_outputs_are_kept():
    proto = to_onnx(network())
    weights = {tensor.name for tensor in proto.graph.initializer}
    assert {"first/kernel", "first/bias", "norm/gamma", "norm/moving_mean", "classes/kernel"} <= weights
    names = [node.name for node in proto.graph.node]
    assert "first/Conv" in names and "classes/Gemm" in names and "classes/Softmax" in names
    assert [info.name for info in proto.graph.input] == ["picture"]
    assert [info.name for info in proto.graph.output] == ["classes"]
    assert proto.graph.name == "small" and proto.producer_name == "kernelearn"


def test_only_weights_are_initializers():
    proto = to_onnx(network())
    assert len(proto.graph.initializer) == 10  # three layers of two, and four rows of the normalisation
    assert all("/" in tensor.name for tensor in proto.graph.initializer)


def test_the_batch_is_open():
    proto = to_onnx(network())
    for info in (*proto.graph.input, *proto.graph.output):
        assert info.type.tensor_type.shape.dim[0].dim_param == "batch"
    x = np.random.default_rng(0).normal(size=(7, 8, 8, 3)).astype(np.float32)
    for count in (1, 7):
        (found,) = ReferenceEvaluator(proto).run(None, {"picture": x[:count]})
        assert found.shape == (count, 5)


@pytest.mark.parametrize("kind", ["gelu", "hard_sigmoid", "silu", "mish"])
def test_spellings_that_every_runtime_means_alike(kind):
    x = Input((4,))
    proto = to_onnx(Model(x, Activation(kind)(x)))
    expected = {
        "gelu": ["Div", "Erf", "Add", "Mul", "Mul"],
        "hard_sigmoid": ["HardSigmoid"],
        "silu": ["Sigmoid", "Mul"],
        "mish": ["Softplus", "Tanh", "Mul"],
    }
    assert kinds(proto) == expected[kind]
    if kind == "hard_sigmoid":
        assert attributes(proto, "HardSigmoid") == {"alpha": pytest.approx(1 / 6), "beta": 0.5}


def test_groups_are_normalised_by_an_operator_of_all_versions():
    x = Input((4, 4, 6))
    proto = to_onnx(Model(x, GroupNormalization(3)(x)), "NCHW")
    assert kinds(proto) == ["Reshape", "InstanceNormalization", "Reshape", "Mul", "Add"]


def test_dropout_and_what_else_a_prediction_leaves_out():
    x = Input((4,))
    assert kinds(to_onnx(Model(x, Dense(2)(Dropout(0.5)(x))))) == ["Gemm"]


def test_model_export_and_save_write_the_same(tmp_path):
    model = network()
    model.save(tmp_path / "a.onnx")
    model.export(tmp_path / "b.onnx")
    model.export(tmp_path / "c.bin", format="onnx")
    contents = {(tmp_path / name).read_bytes() for name in ("a.onnx", "b.onnx", "c.bin")}
    assert len(contents) == 1
    model.export(tmp_path / "d.onnx", input_layout="NCHW")
    sizes = onnx.load(tmp_path / "d.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in sizes][1:] == [3, 8, 8]
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    for name in ("a.onnx", "c.bin", "d.onnx"):
        assert_same_but_for_rounding(
            load_model(tmp_path / name).predict(x, verbose=0), model.predict(x, verbose=0), 100
        )


def test_maps_go_out_in_the_layout_that_was_asked_for():
    x = Input((4, 5, 3))
    model = Model(x, Conv2DTranspose(2, 3, strides=2, padding="same", name="larger")(x))
    sizes = [d.dim_value for d in to_onnx(model, "NCHW").graph.output[0].type.tensor_type.shape.dim]
    assert sizes[1:] == [2, 8, 10]
    for layout in ("NHWC", "NCHW"):
        assert from_onnx(to_onnx(model, layout)).output_shape == (None, 8, 10, 2)


def test_several_inputs_and_outputs():
    a, b = Input((4, 4, 2), name="a"), Input((4, 4, 2), name="b")
    joined = Add(name="sum")([a, b])
    model = Model({"left": a, "right": b}, [joined, GlobalAveragePooling2D(name="mean")(joined), joined])
    proto = to_onnx(model)
    assert [info.name for info in proto.graph.input] == ["left", "right"]
    x, y = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 2)).astype(np.float32)
    for found in (
        ReferenceEvaluator(proto).run(None, {"left": x, "right": y}),
        from_onnx(proto).predict([x, y], verbose=0),
    ):
        assert len(found) == 3
        for one, other in zip(found, model.predict({"left": x, "right": y}, verbose=0)):
            assert_same_but_for_rounding(one, other, 10)


def test_shared_layers_stay_shared():
    shared, x, y = Dense(3, name="shared"), Input((4,), name="x"), Input((4,), name="y")
    model = Model([x, y], Add()([shared(x), shared(y)]))
    proto = to_onnx(model)
    assert len(proto.graph.initializer) == 2 and kinds(proto).count("Gemm") == 2
    back = from_onnx(proto)
    assert back.count_params() == model.count_params() == 15


def test_nested_models_and_own_functions():
    inner = Sequential([Input((4, 4, 2)), Conv2D(3, 3, name="deep")], name="inner")
    x = Input((4, 4, 2))
    model = Model(x, Lambda(lambda z: ops.log1p(ops.abs(z)) - 1)(inner(x)))
    proto = to_onnx(model)
    assert any(node.name == "inner/deep/Conv" for node in proto.graph.node)
    array = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype(np.float32)
    (found,) = ReferenceEvaluator(proto).run(None, {proto.graph.input[0].name: array})
    assert_same_but_for_rounding(found, model.predict(array, verbose=0), 60)


@pytest.mark.parametrize(
    "function,text",
    [
        (lambda x: ops.erfinv(x), "'erfinv'"),
        (lambda x: ops.cumprod(x, axis=1), "'cumprod'"),
    ],
)
def test_what_onnx_lacks_is_refused_by_name_and_nothing_is_written(tmp_path, function, text):
    x = Input((4,))
    model = Model(x, Lambda(function, name="odd")(x))
    with pytest.raises(ArgumentError, match=f"{text} of layer 'odd'.*Nothing was written"):
        model.export(tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_random_numbers_in_a_prediction_are_refused():
    x = Input((4,))
    with pytest.raises(ArgumentError, match="draws random numbers"):
        to_onnx(Model(x, Dropout(0.5, name="drop")(x, training=True)))


def test_an_old_file_stays_where_the_new_one_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    network().save(path)
    before = path.read_bytes()
    x = Input((4,))
    with pytest.raises(ArgumentError):
        Model(x, Lambda(lambda z: ops.erfinv(z))(x)).save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ArgumentError, match="overwrite=True"):
        network().save(path, overwrite=False)


def test_open_sizes_are_fixed_for_a_file():
    model = Sequential([Input((None, None, 3)), Conv2D(4, 3, padding="same"), GlobalAveragePooling2D()])
    with pytest.raises(ArgumentError, match=r"input_shape=\(64, 64, 3\)"):
        to_onnx(model)
    proto = to_onnx(model, input_shape=(6, 5, 3))
    assert [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim][1:] == [6, 5, 3]


def test_wrong_options_are_told():
    with pytest.raises(ArgumentError, match="input_layout must be one of"):
        to_onnx(network(), "CHWN")
    with pytest.raises(ArgumentError, match="takes the options input_layout and input_shape; got 'opset'"):
        network().export("m.onnx", opset=12)
    with pytest.raises(ArgumentError, match=r"exported as 'onnx' \(.onnx\) or .*; got format='tflite'"):
        network().export("m.tflite", format="tflite")
    with pytest.raises(ArgumentError, match=r"got 'm.keras'"):
        network().export("m.keras")
    with pytest.raises(NotBuiltError):
        to_onnx(Sequential([Dense(2)]))


def test_numbers_in_float64_stay_in_float64():
    from kernelearn import config

    before = config.floatx()
    config.set_floatx("float64")
    try:
        x = Input((3,))
        model = Model(x, Dense(2, activation="tanh")(x))
        proto = to_onnx(model)
        array = np.random.default_rng(0).normal(size=(4, 3))
        (found,) = ReferenceEvaluator(proto).run(None, {proto.graph.input[0].name: array})
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, model.predict(array, verbose=0), rtol=1e-12)
        np.testing.assert_allclose(from_onnx(proto).predict(array, verbose=0), found, rtol=1e-12)
    finally:
        config.set_floatx(before)


def test_pools_without_a_layout():
    x = Input((6, 6, 2))
    model = Model(x, MaxPooling2D(3, 2, "same")(x))
    assert attributes(to_onnx(model), "MaxPool")["pads"] == [0, 0, 1, 1]


@pytest.mark.parametrize("momentum", [0.5, 0.99])
def test_momentum_of_moving_statistics_goes_and_comes(momentum):
    """It plays no part in a prediction, and in the training after."""
    inner = Sequential([Input((4, 4, 2)), BatchNormalization(momentum=momentum, name="deep")])
    model = Sequential([Input((4, 4, 2)), BatchNormalization(momentum=momentum), inner])
    proto = to_onnx(model)
    told = [a.f for n in proto.graph.node for a in n.attribute if a.name == "momentum"]
    assert told == pytest.approx([momentum] * 2)
    found = [layer.momentum for layer in from_onnx(proto).layers if hasattr(layer, "momentum")]
    assert found == [momentum] * 2
