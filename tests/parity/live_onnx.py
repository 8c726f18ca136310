"""ONNX files against the living ONNX Runtime and PyTorch: what we write, what we read, version by version.

Run by `make parity`; not collected by `make test`:

    python -m pytest tests/parity/live_onnx.py

Random networks are KERNELEARN_ONNX_NETWORKS, 40 by default (200 for a release); random nodes of each operator
and version KERNELEARN_ONNX_NODES, 12 by default. The whole-graph models of the standard take minutes and are
run with KERNELEARN_ONNX_LIGHT=1.
"""

import io
import os
import warnings
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from kernelearn.conversion.onnx import from_onnx, to_onnx
from kernelearn.errors import FormatError
from tests.conversion.onnx.backend import predicted
from tests.conversion.onnx.graphs import model, node, single
from tests.conversion.onnx.random_networks import images, network
from tests.layers.contract import one_layer_model
from tests.layers.examples import EXAMPLES

NETWORKS = int(os.environ.get("KERNELEARN_ONNX_NETWORKS", "40"))
LIGHT = bool(os.environ.get("KERNELEARN_ONNX_LIGHT"))
NODES = int(os.environ.get("KERNELEARN_ONNX_NODES", "12"))
DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
onnxruntime.set_default_logger_severity(4)


def runtime(proto, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    content = proto if isinstance(proto, bytes) else proto.SerializeToString()
    return onnxruntime.InferenceSession(content, options).run(None, feeds)


def close(found, expected, bound=5e-5):
    """Equal within the rounding of two float32 computations, measured by the largest number."""
    assert found.shape == expected.shape
    largest = max(float(np.max(np.abs(expected), initial=0)), 1e-3)
    np.testing.assert_array_less(np.abs(found.astype(float) - expected), bound * largest + 1e-30)


def moved(array, layout):
    return np.ascontiguousarray(np.moveaxis(array, -1, 1)) if layout == "NCHW" and array.ndim > 2 else array


# --- what we write


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("example", [e for e in EXAMPLES if not e.mixes], ids=str)
def test_every_layer_is_written_as_the_runtime_means_it(example, layout):
    made = one_layer_model(example)
    arrays = example.inputs()
    expected = made.predict(arrays if len(arrays) > 1 else arrays[0], verbose=0)
    proto = to_onnx(made, layout)
    feeds = {info.name: moved(a, layout) for info, a in zip(proto.graph.input, arrays, strict=True)}
    expected = expected if isinstance(expected, list) else [expected]
    for found, wanted in zip(runtime(proto, feeds), expected, strict=True):
        close(found, moved(wanted, layout))


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_random_networks(seed):
    made, layout = network(seed), ("NHWC", "NCHW")[seed % 2]
    x = images(made, seed)
    expected = made.predict(x, verbose=0)
    proto = to_onnx(made, layout)
    (found,) = runtime(proto, {proto.graph.input[0].name: moved(x, layout)})
    close(found, moved(expected, layout))
    close(from_onnx(proto).predict(x, verbose=0), expected)


# --- what we read, version by version


def random_of(*names):
    return np.random.default_rng(zlib.crc32(" ".join(map(str, names)).encode()))


def normal(random, *shape):
    return random.normal(size=shape).astype(np.float32)


def window(random, rank, least=1):
    kernel = [int(k) for k in random.integers(least, 4, rank)]
    return kernel, {
        "strides": [int(s) for s in random.integers(1, 4, rank)],
        "dilations": [int(d) for d in random.integers(1, 3, rank)],
    }


def pads(random, rank, kernel):
    way = int(random.integers(4))
    if way == 3:
        return {"auto_pad": str(random.choice(["VALID", "SAME_UPPER", "SAME_LOWER"]))}
    return {"pads": [int(random.integers(0, kernel[i % rank])) for i in range(2 * rank)]}


def conv(random, opset):
    rank = int(random.integers(1, 4))
    kernel, attrs = window(random, rank)
    group = int(random.choice([1, 2, 4]))
    x = normal(random, 2, 4, *random.integers(8, 11, rank))
    weights = [normal(random, 2 * group, 4 // group, *kernel), normal(random, 2 * group)]
    attrs |= pads(random, rank, kernel)
    if "auto_pad" in attrs:
        attrs["dilations"] = [1] * rank
    return single("Conv", x, weights[: int(random.integers(1, 3))], opset, group=group, **attrs), x


def conv_transpose(random, opset):
    rank = int(random.integers(1, 3))
    kernel, attrs = window(random, rank)
    group = int(random.choice([1, 2]))
    x = normal(random, 2, 4, *random.integers(3, 6, rank))
    attrs["group"] = group
    way = int(random.integers(3))
    full = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(x.shape[2:], attrs["strides"], kernel, attrs["dilations"])
    ]
    if way == 0:
        attrs["output_padding"] = [int(random.integers(0, s)) for s in attrs["strides"]]
        attrs["pads"] = [int(random.integers(0, k)) for k in [*kernel, *kernel]]
        if any(f - 2 * max(kernel) < 0 for f in full):
            attrs["pads"] = [0] * (2 * rank)
    elif way == 1:
        attrs["output_shape"] = [int(random.integers(max(1, f - 2), f + 1)) for f in full]
        attrs["auto_pad"] = str(random.choice(["SAME_UPPER", "SAME_LOWER"]))
    weights = [normal(random, 4, 3, *kernel), normal(random, 3 * group)]
    return single("ConvTranspose", x, weights, opset, **attrs), x


def pool(op_type):
    def made(random, opset):
        rank = int(random.integers(1, 4))
        kernel, attrs = window(random, rank, least=2)
        has_dilations = opset >= (10 if op_type == "MaxPool" else 19)
        if not has_dilations:
            del attrs["dilations"]
        attrs |= pads(random, rank, kernel)
        if "auto_pad" not in attrs and opset >= 10:
            attrs["ceil_mode"] = int(random.integers(2))
        elif has_dilations:
            attrs["dilations"] = [1] * rank
        if op_type == "AveragePool":
            attrs["count_include_pad"] = int(random.integers(2))
        x = normal(random, 2, 3, *random.integers(9, 12, rank))
        return single(op_type, x, (), opset, kernel_shape=kernel, **attrs), x

    return made


def softmax(op_type):
    def made(random, opset):
        x = normal(random, *random.integers(2, 5, int(random.integers(2, 5))))
        axis = int(random.integers(1, x.ndim))
        return single(op_type, x, (), opset, axis=int(random.choice([axis, axis - x.ndim]))), x

    return made


def pad(random, opset):
    x = normal(random, 2, *random.integers(4, 7, 3))
    mode = str(random.choice(["constant", "edge", "reflect"]))
    found = [0, *map(int, random.integers(-1 if mode == "constant" else 0, 3, 3))]
    found += [0, *map(int, random.integers(-1 if mode == "constant" else 0, 3, 3))]
    if opset < 11:
        return single("Pad", x, (), opset, mode=mode, pads=found, value=0.5), x
    return single("Pad", x, [np.array(found), np.float32(0.5)], opset, mode=mode), x


def prelu(random, opset):
    x = normal(random, 2, 3, 4, 5)
    shape = [(3, 1, 1), (1,), (3, 4, 5), (5,), (1, 4, 1), (1, 3, 1, 1)][int(random.integers(6))]
    return single("PRelu", x, [normal(random, *shape)], opset), x


def batch_norm(random, opset):
    x = normal(random, 4, 3, *random.integers(2, 5, int(random.integers(0, 4))))
    rows = [normal(random, 3) for _ in range(3)] + [random.uniform(0.5, 2, 3).astype(np.float32)]
    return single("BatchNormalization", x, rows, opset, epsilon=float(random.uniform(1e-5, 0.1))), x


def resize(random, opset):
    x = normal(random, 2, 3, *random.integers(3, 8, 2))
    mode = str(random.choice(["nearest", "linear", "cubic"] if opset >= 11 else ["nearest", "linear"]))
    if opset < 11:
        factors = [1.0, 1.0, *map(float, random.integers(1, 4, 2))]
        if opset < 9:
            return single("Upsample", x, (), opset, mode=mode, scales=factors), x
        scales = np.array(factors, np.float32)
        return single("Upsample" if opset == 9 else "Resize", x, [scales], opset, mode=mode), x
    where = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"][int(random.integers(4))]
    attrs = {"mode": mode, "coordinate_transformation_mode": where}
    if mode == "nearest":
        attrs["nearest_mode"] = str(random.choice(["floor", "ceil", "round_prefer_floor"]))
    elif opset >= 18 and random.random() < 0.5:
        attrs |= {"antialias": 1, "exclude_outside": int(random.integers(2))}
    empty = np.zeros(0, np.float32)
    sizes = np.array([*x.shape[:2], *random.integers(2, 15, 2)])
    given = [empty, empty, sizes] if opset < 13 else [None, None, sizes]
    if random.random() < 0.2:
        attrs["coordinate_transformation_mode"] = "tf_crop_and_resize"
        attrs["extrapolation_value"] = float(random.choice([0, 2]))
        inner = random.uniform(-0.2, 1.2, 4) if mode != "nearest" else random.uniform(0, 1, 4)
        given[0] = np.array([0, 0, *inner[:2], 1, 1, *inner[2:]], np.float32)
        return single("Resize", x, given, opset, 2, **attrs), x
    if opset < 13 and random.random() < 0.5:
        given = [empty, np.array([1, 1, *random.integers(1, 4, 2)], np.float32)]
    return single("Resize", x, given, opset, 2, **attrs), x


def reduction(random, opset):
    name = str(random.choice(["Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare"]))
    x = normal(random, 2, 3, 4, 5)
    axes = sorted({int(a) for a in random.integers(1, 4, int(random.integers(1, 4)))})
    keepdims = int(random.integers(2))
    if opset < 18:
        return single(f"Reduce{name}", x, (), opset, axes=axes, keepdims=keepdims), x
    return single(f"Reduce{name}", x, [np.array(axes)], opset, keepdims=keepdims), x


def activation(random, opset):
    known = [
        ("LeakyRelu", 7, "alpha"),
        ("Elu", 7, "alpha"),
        ("HardSigmoid", 7, "alpha"),
        ("Celu", 12, "alpha"),
    ]
    known += [("ThresholdedRelu", 10, "alpha"), ("HardSwish", 14, ""), ("Mish", 18, ""), ("Gelu", 20, "")]
    known += [("Softplus", 7, ""), ("Softsign", 7, ""), ("Selu", 7, "gamma"), ("Erf", 9, "")]
    op_type, _, attribute = [k for k in known if k[1] <= opset][int(random.integers(4))]
    x = 3 * normal(random, 2, 3, 4)
    attrs = {attribute: float(random.uniform(0.1, 2))} if attribute else {}
    return single(op_type, x, (), opset, **attrs), x


def normalisation(random, opset):
    x = normal(random, 2, 6, *random.integers(2, 5, 2))
    if opset >= 21 and random.random() < 0.4:
        rows = [normal(random, 6), normal(random, 6)]
        return single("GroupNormalization", x, rows, opset, num_groups=int(random.choice([1, 2, 3, 6]))), x
    if opset >= 17 and random.random() < 0.6:
        axis = int(random.integers(1, x.ndim))
        rows = [normal(random, *x.shape[axis:]), normal(random, *x.shape[axis:])]
        return single("LayerNormalization", x, rows, opset, axis=axis, epsilon=1e-3), x
    if random.random() < 0.5:
        return single(
            "LRN", x, (), opset, size=int(random.choice([1, 3, 5])), alpha=0.1, beta=0.7, bias=1.5
        ), x
    return single("InstanceNormalization", x, [normal(random, 6), normal(random, 6)], opset, epsilon=1e-3), x


def gemm(random, opset):
    x, turned = normal(random, 3, 4), int(random.integers(2))
    kernel = normal(random, *((5, 4) if turned else (4, 5)))
    attrs = {"transB": turned, "alpha": float(random.uniform(0.5, 2)), "beta": float(random.uniform(0.5, 2))}
    return single("Gemm", x, [kernel, normal(random, 5)], opset, **attrs), x


OPERATORS = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": pool("MaxPool"),
    "AveragePool": pool("AveragePool"),
    "Softmax": softmax("Softmax"),
    "LogSoftmax": softmax("LogSoftmax"),
    "Pad": pad,
    "PRelu": prelu,
    "BatchNormalization": batch_norm,
    "Resize": resize,
    "Reduce": reduction,
    "activation": activation,
    "normalisation": normalisation,
    "Gemm": gemm,
}
# What we refuse, by name, among random nodes; and what the runtime refuses.
MAY_REFUSE = (
    "as wide as the window",
    "leave nothing of",
    "different things in different runtimes",
    "does not fit into",
    "beyond strides",
)
RUNTIME_REFUSES = ("padding values must be",)


@pytest.mark.parametrize("opset", range(7, 22))
@pytest.mark.parametrize("name", OPERATORS)
def test_every_version_is_read_as_the_runtime_means_it(name, opset):
    compared = refused = 0
    for number in range(NODES):
        proto, x = OPERATORS[name](random_of(name, opset, number), opset)
        try:
            (expected,) = runtime(proto, {"x": x})
        except Exception as error:
            assert any(words in str(error) for words in RUNTIME_REFUSES), str(error)
            continue
        try:
            found = predicted(from_onnx(proto), {"x": x})[0]
        except FormatError as error:
            refused += 1
            assert any(words in str(error) for words in MAY_REFUSE), str(error)
            continue
        compared += 1
        close(found, expected)
    assert compared > refused


# --- networks of others


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18])
@pytest.mark.parametrize("name", ["block", "flat", "attention", "shuffle", "line", "volume"])
def test_what_pytorch_exports(name, opset):
    """By the exporter that traces; the newer one needs a package of its own, onnxscript."""
    import torch

    from tests.parity.onnx_modules import MODULES

    torch.manual_seed(0)
    make, shape = MODULES[name]
    module = make().eval()
    x, target = torch.randn(*shape), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module,
                (x,),
                target,
                opset_version=opset,
                dynamo=False,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
            )
        except torch.onnx.errors.UnsupportedOperatorError as error:
            pytest.skip(f"PyTorch cannot write it with this opset: {error}")
    made = from_onnx(target.getvalue())
    (found,) = predicted(made, {"x": x.numpy()})
    close(found, runtime(target.getvalue(), {"x": x.numpy()})[0])
    close(found, module(x).detach().numpy())
    for layer in made.layers:
        assert layer.name and "/" not in layer.name


def cases_on_disk(kind):
    folders = sorted((DATA / kind).iterdir())
    return [folder for folder in folders if (folder / "model.onnx").exists()]


def tensors(folder, stem):
    for path in sorted(folder.glob(f"{stem}_*.pb"), key=lambda p: int(p.stem.rpartition("_")[2])):
        yield numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


@pytest.mark.parametrize("kind,least", [("pytorch-converted", 80), ("pytorch-operator", 24)])
def test_what_old_pytorch_wrote(kind, least):
    passed, refusals = 0, {}
    for folder in cases_on_disk(kind):
        proto = onnx.load(folder / "model.onnx")
        weights = {tensor.name for tensor in proto.graph.initializer}
        names = [info.name for info in proto.graph.input if info.name not in weights]
        try:
            made = from_onnx(proto)
        except FormatError as error:
            refusals[folder.name] = str(error)
            continue
        for data in folder.glob("test_data_set_*"):
            found = predicted(made, dict(zip(names, tensors(data, "input"), strict=True)))
            for one, other in zip(found, tensors(data, "output")):
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
        passed += 1
    assert passed >= least, refusals


@pytest.mark.skipif(not LIGHT, reason="takes minutes: KERNELEARN_ONNX_LIGHT=1")
@pytest.mark.parametrize("path", sorted((DATA / "light").glob("*.onnx")), ids=lambda path: path.stem)
def test_whole_networks(path):
    """The nine published architectures, once with their constant weights and once with random ones."""
    proto = onnx.load(path)
    have = {tensor.name for tensor in proto.graph.initializer}
    (info,) = [info for info in proto.graph.input if info.name not in have]
    shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
    x = (np.arange(np.prod(shape)).reshape(shape) / np.prod(shape)).astype(np.float32)
    (found,) = predicted(from_onnx(proto), {info.name: x})
    expected = numpy_helper.to_array(
        onnx.TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes())
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    with_random_weights(proto)
    (found,) = predicted(from_onnx(proto), {info.name: x})
    close(found, runtime(proto, {info.name: x})[0], 2e-3)


def with_random_weights(proto):
    """Constants of one number replaced by random ones of the size that keeps activations near one."""
    random = np.random.default_rng(0)
    shapes = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    for one in proto.graph.node:
        if one.op_type == "ConstantOfShape":
            shape = tuple(int(n) for n in shapes[one.input[0]])
            is_row = len(shape) < 2
            fan = max(1, int(np.prod(shape[1:])))
            values = random.uniform(0.5, 1.0, shape) if is_row else random.normal(size=shape) / np.sqrt(fan)
            kept = helper.make_node("Constant", [], list(one.output), value=None)
            del kept.attribute[:]
            kept.attribute.append(
                helper.make_attribute("value", numpy_helper.from_array(values.astype(np.float32)))
            )
            one.CopyFrom(kept)


def test_one_graph_of_many_readers():
    """A value that several nodes read, in other orders of axes, is turned once for each."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    kernel = np.random.default_rng(1).normal(size=(3, 3, 1, 1)).astype(np.float32)
    nodes = [
        node("Conv", "x", "k", outputs=("a",)),
        node("Transpose", "a", outputs=("b",), perm=[0, 2, 3, 1]),
        node("Softmax", "b", outputs=("c",), axis=-1),
        node("Transpose", "c", outputs=("d",), perm=[0, 3, 1, 2]),
        node("Mul", "a", "d", outputs=("e",)),
        node("ReduceMean", "b", outputs=("f",), axes=[3], keepdims=0),
        node("Unsqueeze", "f", "one", outputs=("g",)),
        node("Add", "e", "g"),
    ]
    proto = model(nodes, x.shape, {"k": kernel, "one": np.array([1])}, 13)
    (found,) = predicted(from_onnx(proto), {"x": x})
    close(found, runtime(proto, {"x": x})[0])
