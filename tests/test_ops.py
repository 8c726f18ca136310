"""`kernelearn.ops`: values, both ways to an engine, arguments, messages, examples of the docstrings."""

import doctest
import importlib
from inspect import signature
from types import ModuleType

import numpy as np
import pytest

from kernelearn import ops
from kernelearn.engine import backends
from kernelearn.engine.executor import ReferenceExecutable
from kernelearn.errors import KernelearnError, ShapeError
from kernelearn.ops import _run
from tests.engine import oracles
from tests.engine.geometries import GEOMETRIES

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(2, 6, 5, 4)), RNG.normal(size=(3, 3, 4, 6))
Y = ops.conv(X, W)
LINE = RNG.normal(size=(2, 9, 3))

# name -> (arguments, keyword arguments): one call of every function.
CALLS = {
    "conv": ((X, W), {"padding": "same", "strides": 2}),
    "conv_grad_input": ((Y, W), {"input_size": (6, 5)}),
    "conv_grad_kernel": ((X, Y), {"kernel_size": 3}),
    "conv_transpose": ((Y, W), {"strides": 2, "padding": "same"}),
    "depthwise_conv": ((X, RNG.normal(size=(2, 2, 4, 3))), {}),
    "separable_conv": ((X, RNG.normal(size=(2, 2, 4, 1)), RNG.normal(size=(1, 1, 4, 5))), {}),
    "max_pool": ((X, 2), {"padding": "same"}),
    "average_pool": ((X, (2, 3)), {"strides": 1}),
    "global_max_pool": ((X,), {}),
    "global_average_pool": ((X,), {"keepdims": True}),
    "activation": ((X, "relu"), {"negative_slope": 0.1}),
    "softmax": ((X,), {"axis": 1}),
    "log_softmax": ((X,), {"axis": 0}),
    "dense": ((X, RNG.normal(size=(4, 3)), RNG.normal(size=3)), {}),
    "bias_add": ((X, RNG.normal(size=4)), {}),
    "batch_normalization": ((X, np.zeros(5), np.ones(5)), {"axis": 2, "scale": np.full(5, 2.0)}),
    "layer_normalization": ((X, np.ones(4), np.ones(4)), {}),
    "dropout": ((X, 0.5), {"seed": 3}),
    "upsample": ((X, 2), {"interpolation": "bilinear"}),
    "resize": ((X, (3, 9)), {"antialias": True}),
    "affine_transform": ((X, np.eye(2, 3)), {"fill_mode": "wrap"}),
    "threshold": ((X,), {"threshold": 0.5, "default_value": -1.0}),
}
POINTWISE = [
    name for name in ops.__all__ if "engine" in signature(getattr(ops, name)).parameters and name not in CALLS
]


def _call(name, **more):
    arguments, keywords = CALLS.get(name, ((X,), {}))
    return getattr(ops, name)(*arguments, **keywords, **more)


@pytest.fixture
def other_engine(monkeypatch):
    """A second engine, which counts what it prepares."""
    prepared = []

    def prepare(program, variables):
        prepared.append(program)
        return ReferenceExecutable(program, variables)

    monkeypatch.setitem(backends.ENGINES, "other", prepare)
    _run._executable.cache_clear()
    yield prepared
    _run._executable.cache_clear()


@pytest.mark.parametrize("name", [*CALLS, *POINTWISE])
def test_every_engine_gives_the_same(name, other_engine):
    expected = _call(name, engine="reference")
    got = _call(name, engine="other")
    assert other_engine, "the engine was not asked"
    np.testing.assert_array_equal(got, expected)
    # The engine's own is another computation: it adds up in another order.
    np.testing.assert_allclose(_call(name), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    assert expected.dtype == np.float64


def test_a_program_is_prepared_once_for_any_number_of_images(other_engine):
    for images in (2, 1, 2, 7):
        ops.conv(np.ones((images, 6, 5, 4)), W, engine="other")
    assert len(other_engine) == 1
    ops.conv(np.ones((2, 7, 5, 4)), W, engine="other")
    assert len(other_engine) == 2


@pytest.mark.parametrize("g", GEOMETRIES, ids=lambda g: g.label)
def test_convolutions_are_those_of_the_oracle(g):
    x = RNG.normal(size=(2, *g.sizes, g.channels))
    kernel = RNG.normal(size=(*g.kernel, g.channels // g.groups, g.filters))
    arguments = {"strides": g.stride, "padding": g.padding, "dilation_rate": g.dilation, "groups": g.groups}
    y = ops.conv(x, kernel, **arguments)
    np.testing.assert_allclose(y, oracles.conv(x, kernel, **g.attrs), atol=1e-12)
    to_x = ops.conv_grad_input(y, kernel, input_size=g.sizes, **arguments)
    np.testing.assert_allclose(
        to_x, oracles.conv_grad_input(y, kernel, input_size=g.sizes, **g.attrs), atol=1e-11
    )
    to_w = ops.conv_grad_kernel(x, y, kernel_size=g.kernel, **arguments)
    np.testing.assert_allclose(
        to_w, oracles.conv_grad_kernel(x, y, kernel_size=g.kernel, **g.attrs), atol=1e-11
    )


CHANNELS = [
    "conv",
    "conv_transpose",
    "depthwise_conv",
    "separable_conv",
    "max_pool",
    "average_pool",
    "upsample",
    "resize",
]


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_first_is_channels_last_transposed(name):
    (x, *others), keywords = CALLS[name]
    first = getattr(ops, name)(np.moveaxis(x, -1, 1), *others, **keywords, data_format="channels_first")
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), _call(name), atol=1e-13)


def test_gradients_take_channels_first_too():
    x, y = np.moveaxis(X, -1, 1), np.moveaxis(Y, -1, 1)
    to_x = ops.conv_grad_input(y, W, (6, 5), data_format="channels_first")
    np.testing.assert_allclose(np.moveaxis(to_x, 1, -1), ops.conv_grad_input(Y, W, (6, 5)))
    np.testing.assert_allclose(
        ops.conv_grad_kernel(x, y, 3, data_format="channels_first"), ops.conv_grad_kernel(X, Y, 3)
    )


def test_paddings_have_several_spellings():
    kernel = np.ones((3, 3, 1))
    padded = [
        ops.conv(LINE, kernel[:, :, :].repeat(2, -1), padding=p)
        for p in ("same", 1, ((1, 1),), [(1, 1)], "SAME")
    ]
    for other in padded[1:]:
        np.testing.assert_array_equal(other, padded[0])
    causal = ops.conv(LINE, kernel, padding="causal")
    np.testing.assert_array_equal(causal, ops.conv(LINE, kernel, padding=[(2, 0)]))


def test_depthwise_keeps_channels_apart():
    kernel = RNG.normal(size=(3, 3, 2))
    y = ops.depthwise_conv(LINE, kernel)
    for c in range(3):
        np.testing.assert_allclose(
            y[..., 2 * c : 2 * c + 2], ops.conv(LINE[..., c : c + 1], kernel[:, c : c + 1])
        )


def test_one_hot_and_moments():
    np.testing.assert_array_equal(ops.one_hot([[1], [-1]], 2), [[[0, 1]], [[0, 0]]])
    np.testing.assert_array_equal(ops.one_hot(np.array([1.0, 0.0]), 2), [[0, 1], [1, 0]])
    mean, variance = ops.moments(X, (0, 1, 2))
    np.testing.assert_allclose((mean, variance), (X.mean((0, 1, 2)), X.var((0, 1, 2))))


def test_cross_entropies():
    p = ops.softmax(RNG.normal(size=(4, 3)))
    labels = np.array([0, 2, 1, 1])
    expected = -np.log(p[np.arange(4), labels])
    np.testing.assert_allclose(ops.categorical_crossentropy(ops.one_hot(labels, 3), p), expected)
    np.testing.assert_allclose(
        ops.sparse_categorical_crossentropy(labels, np.log(p), from_logits=True), expected
    )
    q = np.array([0.25, 0.5])
    np.testing.assert_allclose(ops.binary_crossentropy(np.array([1, 0]), q), -np.log([0.25, 0.5]))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["float32", "float32"], "float32"),
        (["float32", "float64"], "float64"),
        (["uint8", "int64"], "float32"),
        (["uint8", "float64"], "float64"),
        (["float16", "int8"], "float32"),
    ],
)
def test_float_types(given, expected):
    x, kernel = np.ones((1, 3, 1), given[0]), np.ones((2, 1, 1), given[1])
    assert ops.conv(x, kernel).dtype == expected


ERRORS = [
    (lambda: ops.conv(X[0], W), r"x must have 4 axes, .*got shape \(6, 5, 4\)"),
    (lambda: ops.conv(X, W[0]), "x must have 3 axes"),
    (lambda: ops.conv(X, W[0, 0]), "1 to 3 spatial axes"),
    (lambda: ops.conv(X[..., :3], W), "takes 4 input channels"),
    (lambda: ops.conv(X, W, groups=0), "groups must be a positive int"),
    (lambda: ops.conv(X, W, padding="full"), "padding must be one of"),
    (lambda: ops.conv(X, W, padding="causal"), "is for one spatial axis"),
    (lambda: ops.conv(X, W, padding=[(1, 1)]), "2 pairs"),
    (lambda: ops.conv(X, W, strides=(1, 2, 3)), "strides must be an int or 2 ints"),
    (lambda: ops.conv(X, W, data_format="NHWC"), "data_format must be"),
    (lambda: ops.conv(X, W, engine="fast"), "Unknown engine 'fast'"),
    (lambda: ops.conv(X, W * 1j), "real numbers, got dtype complex128"),
    (lambda: ops.conv_grad_input(X, W, (6, 5)), r"grad_y must have the shape of the output, \(2, 4, 3, 6\)"),
    (lambda: ops.conv_grad_kernel(X, Y[:1], 3), "same number of images"),
    (lambda: ops.conv_grad_kernel(X, Y, 2), "grad_y must have the shape of the output"),
    (lambda: ops.conv_transpose(X, W), "takes 6 input channels"),
    (lambda: ops.conv_transpose(Y, W, padding="causal"), "'valid' or 'same'"),
    (lambda: ops.depthwise_conv(X, W[0, 0, 0]), "depthwise kernel"),
    (lambda: ops.max_pool(X, 7), "does not fit"),
    (lambda: ops.max_pool(X, 2, padding="causal"), "'valid', 'same', an int or pairs"),
    (lambda: ops.max_pool(X, 2, padding=((2, 0), (0, 0))), "smaller than its window"),
    (lambda: ops.average_pool(X, 2, padding=((0, -1), (0, 0))), "at least 0"),
    (lambda: ops.max_pool(X, 2, padding=((0, 1),)), "2 pairs"),
    (lambda: ops.average_pool(X[0, 0], 2), "must have 3 to 5 axes"),
    (lambda: ops.activation(X, "rellu"), "Did you mean"),
    (lambda: ops.softmax(X, axis=4), "axis=4"),
    (lambda: ops.dense(X, W), "kernel must have 2 axes"),
    (lambda: ops.dense(X, W[0, 0, :3]), "takes 3 features"),
    (lambda: ops.bias_add(X, np.ones(3)), r"bias must have shape \(4,\)"),
    (lambda: ops.batch_normalization(X, np.zeros(3), np.ones(3)), r"mean must have shape \(4,\)"),
    (lambda: ops.dropout(X, 2.0), "rate must lie"),
    (lambda: ops.one_hot([0.5], 2), "not whole"),
    (lambda: ops.resize(X, (3, 3), interpolation="area"), "Unknown interpolation"),
    (lambda: ops.affine_transform(X[0], np.eye(2, 3)), "images must have 4 axes"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_messages(call, message):
    with pytest.raises(KernelearnError, match=message):
        call()


def test_shape_errors_are_value_errors():
    assert issubclass(ShapeError, ValueError)


def test_names_are_those_of_the_list():
    public = {name for name, value in vars(ops).items() if not isinstance(value, ModuleType)}
    assert {name for name in public if not name.startswith("_")} == set(ops.__all__)


MODULES = sorted({getattr(ops, name).__module__ for name in ops.__all__})


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_the_docstrings(module):
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted > 0 and results.failed == 0


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_pools_take_pairs_of_padding(engine):
    x = np.arange(6.0, dtype="float32").reshape(1, 6, 1)
    pad = ((1, 0),)
    np.testing.assert_array_equal(ops.max_pool(x, 2, padding=pad, engine=engine).ravel(), [0, 2, 4])
    np.testing.assert_array_equal(ops.average_pool(x, 2, padding=pad, engine=engine).ravel(), [0, 1.5, 3.5])
    same = ops.max_pool(x, 3, 1, padding=1, engine=engine)
    np.testing.assert_array_equal(same, ops.max_pool(x, 3, 1, padding="same", engine=engine))


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_groups_of_a_transposed_convolution_do_not_mix(engine):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 3, 6)).astype("float32")
    kernel = rng.normal(size=(3, 2, 4, 6)).astype("float32")
    found = ops.conv_transpose(x, kernel, strides=2, groups=2, engine=engine)
    halves = [
        ops.conv_transpose(x[..., part], kernel[..., part], strides=2, engine=engine)
        for part in (slice(0, 3), slice(3, 6))
    ]
    assert found.shape == (2, 9, 6, 8)
    np.testing.assert_allclose(found, np.concatenate(halves, -1), rtol=1e-5, atol=1e-5)
