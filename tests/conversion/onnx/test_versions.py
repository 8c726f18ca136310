"""Operators whose meaning changed with the version of the standard: each version as it was."""

import numpy as np
import pytest
from onnx import TensorProto

from kernelearn.conversion.onnx import from_onnx
from kernelearn.errors import FormatError
from tests.conversion.onnx import graphs
from tests.conversion.onnx.graphs import check, model, node, numbers, result, single


def softmax(x, axes):
    weights = np.exp(x.astype(float) - x.max(axis=axes, keepdims=True))
    return weights / weights.sum(axis=axes, keepdims=True)


@pytest.mark.parametrize(
    "opset,attrs,axes",
    [
        (7, {}, (1, 2, 3)),
        (11, {}, (1, 2, 3)),
        (11, {"axis": 2}, (2, 3)),
        (11, {"axis": -1}, (3,)),
        (13, {}, (3,)),
        (13, {"axis": 1}, (1,)),
        (21, {"axis": -2}, (2,)),
    ],
)
def test_softmax_was_over_all_axes_from_one_on(opset, attrs, axes):
    x = numbers(2, 3, 4, 5)
    check(single("Softmax", x, opset=opset, **attrs), x, softmax(x, axes))
    check(single("LogSoftmax", x, opset=opset, **attrs), x, np.log(softmax(x, axes)))


@pytest.mark.parametrize("opset", [7, 11, 13, 18])
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_pads_became_an_input(opset, mode):
    x, pads = numbers(2, 3, 4, 5), [0, 0, 1, 2, 0, 0, 0, 1]
    widths = list(zip(pads[:4], pads[4:]))
    if opset < 11:
        proto = single("Pad", x, opset=opset, mode=mode, pads=pads)
    else:
        proto = single("Pad", x, [np.array(pads)], opset=opset, mode=mode)
    check(proto, x, np.pad(x, widths, mode=mode))


def test_pads_of_some_axes_with_a_value_and_negative_ones():
    x = numbers(2, 3, 4, 5)
    given = [np.array([1, -1, 0, 2]), np.float32(7), np.array([-1, 2])]
    expected = np.pad(x[:, :, 1:, :], [(0, 0), (0, 0), (0, 2), (1, 0)], constant_values=7)
    check(single("Pad", x, given, opset=18), x, expected)


@pytest.mark.parametrize(
    "opset,weights,attrs,limits",
    [
        (7, [], {"min": -0.5, "max": 0.25}, (-0.5, 0.25)),
        (7, [], {"max": 0.25}, (None, 0.25)),
        (11, [np.float32(-0.5)], {}, (-0.5, None)),
        (13, [None, np.float32(0.25)], {}, (None, 0.25)),
        (13, [np.float32(0), np.float32(6)], {}, (0, 6)),
        (13, [np.float32(2), np.float32(1)], {}, (1, 1)),
        (13, [], {}, (None, None)),
    ],
)
def test_limits_of_clip_became_inputs(opset, weights, attrs, limits):
    x = 4 * numbers(2, 3, 4)
    low, high = (-np.inf if limits[0] is None else limits[0]), (np.inf if limits[1] is None else limits[1])
    check(single("Clip", x, weights, opset=opset, **attrs), x, np.clip(x, low, high))


def test_old_dropouts_are_layers_that_do_nothing_in_a_prediction():
    x = numbers(2, 3, 4, 5)
    for opset, weights, attrs, rate in (
        (7, [], {"ratio": 0.3}, 0.3),
        (10, [], {}, 0.5),
        (12, [np.float32(0.2)], {}, 0.2),
        (13, [np.float32(0.2), np.array(False)], {}, 0.2),
    ):
        made = from_onnx(single("Dropout", x, weights, opset=opset, **attrs))
        assert made.layers[-1].rate == pytest.approx(rate)
        check(single("Dropout", x, weights, opset=opset, **attrs), x, x)
    with pytest.raises(FormatError, match="training_mode drops numbers"):
        from_onnx(single("Dropout", x, [np.float32(0.2), np.array(True)], opset=13))


@pytest.mark.parametrize("opset", [7, 9, 14, 15, 21])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 4, 5)])
def test_batch_normalization_by_the_numbers_of_the_file(opset, shape):
    x, scale, shift, mean, variance = numbers(*shape), *[numbers(3) for _ in range(3)], np.abs(numbers(3))
    proto = single("BatchNormalization", x, [scale, shift, mean, variance], opset=opset, momentum=0.8)
    along = (1, 3, *[1] * (len(shape) - 2))
    s, b, m, v = (array.reshape(along).astype(float) for array in (scale, shift, mean, variance))
    check(proto, x, s * (x - m) / np.sqrt(v + 1e-5) + b)
    layer = from_onnx(proto).layers[-1]
    assert (layer.momentum, layer.epsilon) == (pytest.approx(0.8), pytest.approx(1e-5))


def test_batch_normalization_of_a_training_is_refused():
    x, rows = numbers(4, 3), [numbers(3)] * 3 + [np.abs(numbers(3))]
    with pytest.raises(FormatError, match="normalises by the batch"):
        from_onnx(single("BatchNormalization", x, rows, opset=15, training_mode=1))
    names = ("y", "mean", "variance", "saved_mean", "saved_variance")
    made = node("BatchNormalization", "x", "w0", "w1", "w2", "w3", outputs=names)
    proto = model([made], x.shape, {f"w{i}": row for i, row in enumerate(rows)}, 9)
    assert from_onnx(proto).layers[-1].moving_mean.numpy().shape == (3,)  # outputs that nobody reads


def resized(x, places):
    """x (n, c, h) resampled linearly at these places."""
    places = np.clip(places, 0, x.shape[2] - 1)
    first = np.minimum(np.floor(places).astype(int), x.shape[2] - 1)
    second, share = np.minimum(first + 1, x.shape[2] - 1), places - first
    return x[:, :, first] * (1 - share) + x[:, :, second] * share


PLACES = {
    "half_pixel": lambda q, s, n, m: (q + 0.5) / s - 0.5,
    "asymmetric": lambda q, s, n, m: q / s,
    "align_corners": lambda q, s, n, m: q * (n - 1) / (m - 1),
    "pytorch_half_pixel": lambda q, s, n, m: (q + 0.5) / s - 0.5,
}
ROUNDS = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda p: np.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: np.floor(p + 0.5),
}


@pytest.mark.parametrize("opset", [7, 9, 10])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample_and_the_first_resize_are_asymmetric(opset, mode):
    x, scales = numbers(2, 3, 5), np.array([1, 1, 3], np.float32)
    if opset == 7:
        proto = single("Upsample", x, opset=7, mode=mode, scales=[1.0, 1.0, 3.0])
    else:
        proto = single("Upsample" if opset == 9 else "Resize", x, [scales], opset=opset, mode=mode)
    places = np.arange(15) / 3
    check(proto, x, x[:, :, np.floor(places).astype(int)] if mode == "nearest" else resized(x, places))


@pytest.mark.parametrize("opset", [11, 13, 18, 19])
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("new", [15, 7, 3])
def test_resize_with_every_word_for_places(opset, where, new):
    x, places = numbers(2, 3, 5), PLACES[where](np.arange(new), new / 5, 5, new)
    for mode, rounds in (("linear", None), *(("nearest", word) for word in ROUNDS)):
        attrs = {"mode": mode, "coordinate_transformation_mode": where}
        if rounds:
            attrs["nearest_mode"] = rounds
        roi = np.zeros(0, np.float32) if opset < 13 else None
        scales = np.zeros(0, np.float32) if opset < 13 else None
        proto = single("Resize", x, [roi, scales, np.array([2, 3, new])], opset, 2, **attrs)
        if rounds:
            expected = x[:, :, np.clip(ROUNDS[rounds](places.round(9)), 0, 4).astype(int)]
        else:
            expected = resized(x, places)
        check(proto, x, expected)


def test_sizes_may_be_computed_from_the_number_of_images():
    x = numbers(2, 3, 5)
    nodes = [
        node("Shape", "x", outputs=("shape",)),
        node("Slice", "shape", "zero", "two", outputs=("front",)),
        node("Concat", "front", "new", outputs=("sizes",), axis=0),
        node("Resize", "x", "", "", "sizes", mode="linear"),
    ]
    given = {"zero": np.array([0]), "two": np.array([2]), "new": np.array([8])}
    expected = resized(x, PLACES["half_pixel"](np.arange(8), 8 / 5, 5, 8))
    check(model(nodes, x.shape, given, 13), x, expected)


def test_resize_to_whole_multiples_is_a_layer():
    x = numbers(2, 3, 4, 5)
    for mode, where in (("nearest", "asymmetric"), ("linear", "half_pixel")):
        scales = np.array([1, 1, 2, 3], np.float32)
        attrs = {"mode": mode, "coordinate_transformation_mode": where}
        if mode == "nearest":
            attrs["nearest_mode"] = "floor"
        layer = from_onnx(single("Resize", x, [None, scales], **attrs)).layers[-1]
        assert type(layer).__name__ == "UpSampling2D" and tuple(layer.size) == (2, 3)


def test_resize_that_is_not_exact_is_refused():
    x, scales = numbers(2, 3, 4, 5), np.array([1, 1, 0.6, 0.6], np.float32)
    for attrs, text in (
        ({"antialias": 1}, "antialias=1 with mode='nearest'"),
        ({"coordinate_transformation_mode": "tf_crop_and_resize"}, "input 1 is missing"),
        ({"coordinate_transformation_mode": "align_corners", "mode": "linear"}, "different things"),
        ({"mode": "lanczos"}, "mode='lanczos'"),
    ):
        with pytest.raises(FormatError, match=text):
            from_onnx(single("Resize", x, [None, scales], opset=18, **attrs))


def test_axes_of_squeeze_and_unsqueeze_became_an_input():
    x = numbers(2, 3, 1, 5)
    check(single("Squeeze", x, opset=11, axes=[2]), x, x[:, :, 0])
    check(single("Squeeze", x, [np.array([-2])], opset=13), x, x[:, :, 0])
    check(single("Unsqueeze", x, opset=11, axes=[1, 5]), x, x[:, None, ..., None])
    check(single("Unsqueeze", x, [np.array([2])], opset=13), x, x[:, :, None])


@pytest.mark.parametrize(
    "name,function", [("Mean", np.mean), ("Max", np.max), ("Sum", np.sum), ("Prod", np.prod)]
)
@pytest.mark.parametrize("axes", [(2, 3), (1,), (-1,)])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_axes_of_reductions_became_an_input(name, function, axes, keepdims):
    x = numbers(2, 3, 4, 5)
    expected = function(x.astype(float), axis=axes, keepdims=bool(keepdims))
    since = 13 if name == "Sum" else 18
    check(single(f"Reduce{name}", x, opset=since - 1, axes=list(axes), keepdims=keepdims), x, expected)
    check(single(f"Reduce{name}", x, [np.array(axes)], opset=since, keepdims=keepdims), x, expected)


def grouped(x, groups, epsilon=1e-5):
    parts = x.astype(float).reshape(x.shape[0], groups, -1)
    centred = parts - parts.mean(-1, keepdims=True)
    return (centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)).reshape(x.shape)


def test_group_normalization_had_a_scale_for_each_group():
    x = numbers(2, 6, 4, 5)
    for opset, size in ((18, 3), (21, 6)):
        scale, shift = numbers(size), numbers(size)
        s, b = (np.repeat(a, 6 // size).reshape(1, 6, 1, 1) for a in (scale, shift))
        proto = single("GroupNormalization", x, [scale, shift], opset=opset, num_groups=3)
        check(proto, x, grouped(x, 3) * s + b)
    check(single("InstanceNormalization", x, [np.ones(6, "f"), np.zeros(6, "f")]), x, grouped(x, 6))


def test_layer_normalization_over_the_last_axes():
    x = numbers(2, 3, 4, 5)
    for axis, axes in ((-1, (3,)), (2, (2, 3)), (1, (1, 2, 3))):
        sizes = x.shape[axis:]
        scale, shift = numbers(*sizes), numbers(*sizes)
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        expected = (x - mean) / np.sqrt(variance + 1e-5) * scale + shift
        check(single("LayerNormalization", x, [scale, shift], opset=17, axis=axis), x, expected)


@pytest.mark.parametrize("opset,shape", [(6, (3,)), (7, (3, 1, 1)), (9, (1,)), (16, (3, 4, 5)), (16, (5,))])
def test_slopes_of_prelu_stand_at_the_last_axes(opset, shape):
    x, slope = numbers(2, 3, 4, 5), numbers(*shape)
    spread = slope.reshape(3, 1, 1) if opset == 6 else slope
    proto = single("PRelu", x, [slope], opset=opset)
    check(proto, x, np.where(x > 0, x, x * spread))
    assert type(from_onnx(proto).layers[-1]).__name__ == "PReLU"


def test_the_second_operand_was_put_at_an_axis():
    x, row, last = numbers(2, 3, 4, 5), numbers(3), numbers(5)
    for op_type, function in (("Add", np.add), ("Mul", np.multiply), ("Sub", np.subtract)):
        proto = single(op_type, x, [row], opset=6, broadcast=1, axis=1)
        check(proto, x, function(x, row.reshape(3, 1, 1)))
        check(single(op_type, x, [last], opset=7), x, function(x, last))


def test_places_of_slices_became_inputs():
    x = numbers(2, 6, 5)
    check(single("Slice", x, opset=9, starts=[1, -3], ends=[100, -1], axes=[1, 2]), x, x[:, 1:, -3:-1])
    given = [np.array(v) for v in ([-1, 0], [-100, 4], [1, 2], [-2, 3])]
    check(single("Slice", x, given, opset=10), x, x[:, -1:-100:-2, 0:4:3])


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_sizes_of_splits_became_an_input(opset):
    x = numbers(2, 7, 3)
    attrs = {"axis": 1, "split": [4, 3]} if opset < 13 else {"axis": 1}
    names = ("x",) if opset < 13 else ("x", "sizes")
    nodes = [node("Split", *names, outputs=("a", "b"), **attrs), node("Concat", "b", "a", axis=1)]
    proto = model(nodes, x.shape, {} if opset < 13 else {"sizes": np.array([4, 3])}, opset)
    check(proto, x, np.concatenate([x[:, 4:], x[:, :4]], 1))


def test_activations_of_every_name():
    x = 3 * numbers(2, 3, 4)
    wide = x.astype(float)
    logistic = 1 / (1 + np.exp(-wide))
    softplus = np.log1p(np.exp(wide))
    for op_type, opset, attrs, expected in (
        ("Relu", 7, {}, np.maximum(wide, 0)),
        ("LeakyRelu", 7, {}, np.where(wide > 0, wide, 0.01 * wide)),
        ("LeakyRelu", 7, {"alpha": -0.5}, np.where(wide > 0, wide, -0.5 * wide)),
        ("Elu", 7, {"alpha": 0.7}, np.where(wide > 0, wide, 0.7 * np.expm1(wide))),
        ("Celu", 12, {"alpha": 0.7}, np.maximum(wide, 0) + np.minimum(0, 0.7 * np.expm1(wide / 0.7))),
        ("Selu", 7, {"alpha": 2.0, "gamma": 3.0}, 3 * np.where(wide > 0, wide, 2 * np.expm1(wide))),
        ("Sigmoid", 7, {}, logistic),
        ("HardSigmoid", 7, {}, np.clip(0.2 * wide + 0.5, 0, 1)),
        ("HardSigmoid", 7, {"alpha": 1 / 6, "beta": 0.5}, np.clip(wide / 6 + 0.5, 0, 1)),
        ("HardSwish", 14, {}, wide * np.clip(wide / 6 + 0.5, 0, 1)),
        ("Softplus", 7, {}, softplus),
        ("Softsign", 7, {}, wide / (1 + abs(wide))),
        ("Mish", 18, {}, wide * np.tanh(softplus)),
        ("ThresholdedRelu", 10, {"alpha": 0.5}, np.where(wide > 0.5, wide, 0)),
        ("Gelu", 20, {"approximate": "tanh"}, gelu_by_tanh(wide)),
        ("Swish", 24, {"alpha": 1.5}, wide / (1 + np.exp(-1.5 * wide))),
    ):
        check(single(op_type, x, opset=opset, **attrs), x, expected)


def gelu_by_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def test_a_gelu_by_erf_is_one_activation():
    from math import erf

    x = numbers(2, 3, 4)
    nodes = [
        node("Div", "x", "root", outputs=("a",)),
        node("Erf", "a", outputs=("b",)),
        node("Add", "one", "b", outputs=("c",)),
        node("Mul", "x", "c", outputs=("d",)),
        node("Mul", "d", "half"),
    ]
    constants = {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    proto = model(nodes, x.shape, constants, 13)
    check(proto, x, x * 0.5 * (1 + np.vectorize(erf)(x / 2**0.5)))
    assert [type(layer).__name__ for layer in from_onnx(proto).layers] == ["InputLayer", "Activation"]


def test_shapes_that_a_graph_computes():
    """What PyTorch writes for x.view(x.size(0), -1), with and without the batch in a constant."""
    x, kernel = numbers(2, 3, 4, 5), numbers(60, 7)
    nodes = [
        node("Shape", "x", outputs=("shape",)),
        node("Constant", outputs=("zero",), value_int=0),
        node("Gather", "shape", "zero", outputs=("n",), axis=0),
        node("Unsqueeze", "n", outputs=("row",), axes=[0]),
        node("Concat", "row", "rest", outputs=("target",), axis=0),
        node("GlobalMaxPool", "x", outputs=("unused",)),
        node("Reshape", "x", "target", outputs=("flat",)),
        node("MatMul", "flat", "kernel"),
    ]
    proto = model(nodes, x.shape, {"rest": np.array([-1]), "kernel": kernel}, 11)
    check(proto, x, x.reshape(2, -1) @ kernel)


def test_rows_of_a_dense_layer_follow_the_flattened_map():
    """A map is flattened channels first in the file and channels last here."""
    x, conv, kernel, bias = numbers(2, 3, 4, 5), numbers(2, 3, 1, 2), numbers(7, 32), numbers(7)
    nodes = [
        node("Conv", "x", "conv.weight", outputs=("map",)),
        node("Relu", "map", outputs=("positive",)),
        node("Flatten", "positive", outputs=("flat",)),
        node("Gemm", "flat", "fc.weight", "fc.bias", transB=1),
    ]
    given = {"conv.weight": conv, "fc.weight": kernel, "fc.bias": bias}
    proto = model(nodes, x.shape, given, 13)
    flat = np.maximum(graphs.conv(x, conv), 0).reshape(2, -1)
    check(proto, x, flat @ kernel.T + bias)
    made = from_onnx(proto)
    kinds = ["InputLayer", "Conv2D", "ReLU", "Flatten", "Dense"]
    assert [type(layer).__name__ for layer in made.layers] == kinds
    assert [layer.name for layer in made.layers] == ["x", "conv", "relu", "flatten", "fc"]
    assert made.input_shape == (None, 4, 5, 3)


def test_constants_may_be_nodes_and_inputs_may_be_initializers():
    from onnx import helper, numpy_helper

    x, kernel = numbers(2, 3, 4, 4), numbers(2, 3, 3, 3)
    value = numpy_helper.from_array(kernel)
    nodes = [
        node("Constant", outputs=("k",), value=value),
        node("Identity", "k", outputs=("kernel",)),
        node("Conv", "x", "kernel", "bias"),
    ]
    proto = model(nodes, x.shape, {"bias": numbers(2)}, 9)
    proto.graph.input.append(helper.make_tensor_value_info("bias", TensorProto.FLOAT, [2]))
    assert result(proto, x).shape == (2, 2, 2, 2)
    assert len(from_onnx(proto).inputs) == 1


def test_images_keep_their_axis():
    x = numbers(2, 3, 4)
    for proto in (
        single("Softmax", x, opset=13, axis=0),
        single("ReduceMean", x, opset=13, axes=[0]),
        single("Reshape", x, [np.array([-1])], opset=13),
        single("Concat", x, [x], opset=13, axis=0),
        single("Add", x, [numbers(2, 3, 4)], opset=13),
        single("Flatten", x, opset=13, axis=2),
    ):
        with pytest.raises(FormatError, match=r"images|each image|a constant"):
            from_onnx(proto)
