"""A layer as a dense one: same output, same gradient, and counts that can be checked by hand."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernelearn import Input, Sequential, config, explain
from kernelearn import layers as L
from kernelearn.engine.operators import OPERATORS
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.recording import Factors
from tests.explain.layer_grid import GRID, some_factors

SEPARABLE = [name for name in GRID if name.startswith("separable")]
SINGLE = [name for name in GRID if name not in SEPARABLE]


def built(name, dtype="float64"):
    """The layer of a grid case with random weights, and the shape of its input."""
    make, shape, _ = GRID[name]
    before = config.floatx()
    config.set_floatx(dtype)
    layer = make()
    layer.ensure_built([(None, *shape)])
    config.set_floatx(before)
    rng = np.random.default_rng(5)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    return layer, shape


@pytest.mark.parametrize("name", GRID)
def test_the_matrix_gives_the_output_of_the_layer(name):
    layer, shape = built(name)
    x = np.random.default_rng(0).normal(size=(3, *shape))
    wide = explain.dense_equivalent(layer, shape)
    expected = layer(x)
    np.testing.assert_allclose(wide.apply(x), expected, rtol=1e-12, atol=1e-12)
    flat = (wide.matrix @ x[0].ravel()) + wide.bias
    np.testing.assert_allclose(flat, np.ravel(expected[0]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SINGLE)
def test_the_dense_gradient_summed_over_ties_is_the_gradient_of_the_kernel(name):
    layer, shape = built(name)
    x = np.random.default_rng(0).normal(size=(4, *shape))
    wide = explain.dense_equivalent(layer, shape)
    # The loss <delta, y> has the gradient delta with respect to y, and is linear in the kernel.
    delta = np.random.default_rng(1).normal(size=(4, *wide.output_shape))
    gradient = wide.kernel_gradient(x, delta)
    assert gradient.shape == layer.kernel.shape
    full = np.einsum("no,ni->oi", delta.reshape(4, -1), x.reshape(4, -1))
    np.testing.assert_allclose(wide.tied_sum(full), gradient, rtol=1e-12, atol=1e-12)
    direction = np.random.default_rng(2).normal(size=layer.kernel.shape)
    slope = np.vdot(delta, wide.with_kernel(direction).apply(x) - wide.with_kernel(0 * direction).apply(x))
    assert np.vdot(gradient, direction) == pytest.approx(slope, rel=1e-11)


@pytest.mark.parametrize("name", [n for n in SINGLE if n != "local2d"])
def test_it_is_the_gradient_of_the_engine(name):
    make, shape, _ = GRID[name]
    factors = some_factors(make, shape)
    x, delta = factors.x, factors.delta
    if factors.kind == "dense":
        wide = explain.dense_equivalent(L.Dense(delta.shape[-1]), x.shape[1:])
    else:
        kernel = np.zeros(factors.kernel_shape)
        wide = explain.dense_equivalent(factors.attrs, x.shape[1:], kernel=kernel)
    gradient = wide.kernel_gradient(x, delta).reshape(factors.gradient.shape)
    scale = np.abs(factors.gradient).max()
    np.testing.assert_allclose(gradient, factors.gradient, rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize("name", SEPARABLE)
def test_both_kernels_of_a_separable_layer(name):
    make, shape, _ = GRID[name]
    before = config.floatx()
    config.set_floatx("float64")
    layer = make()
    model = Sequential([Input(shape), layer, L.Activation("tanh"), L.Flatten()])
    config.set_floatx(before)
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    # Batches are float32 (floatx) also for a float64 model: what float32 holds reaches it as it is.
    x = rng.normal(size=(3, *shape)).astype("float32").astype("float64")
    y = rng.normal(size=(3, *model.outputs[0].shape[1:]))
    depthwise, pointwise = (explain.factors_of(model, x, y, layer.name, w) for w in GRID[name][2])
    chain = explain.dense_equivalent(layer, shape)
    assert [stage.weight for stage in chain.stages] == list(GRID[name][2])
    gradients = chain.kernel_gradients(x, pointwise.delta)
    np.testing.assert_allclose(gradients[0], depthwise.gradient, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(gradients[1], pointwise.gradient, rtol=1e-11, atol=1e-15)
    with pytest.raises(ArgumentError, match="two kernels"):
        explain.dense_equivalent(layer, shape, kernel=np.zeros(1))


def test_counts_by_hand():
    """3 x 3 over 5 x 5: 9 positions of 9 entries each; same padding cuts entries at the border off."""
    wide = explain.dense_equivalent(L.Conv2D(1, 3, use_bias=False), (5, 5, 1))
    assert (wide.shape, wide.entries, wide.nonzeros, wide.zeros, wide.free) == ((9, 25), 225, 81, 144, 9)
    assert set(wide.tie_counts.ravel()) == {9} and wide.bias is None
    same = explain.dense_equivalent(L.Conv2D(1, 3, padding="same"), (5, 5, 1))
    assert same.tie_counts[..., 0, 0].tolist() == [[16, 20, 16], [20, 25, 20], [16, 20, 16]]
    dense = explain.dense_equivalent(L.Dense(4), (5,))
    assert (dense.zeros, dense.free, set(dense.tie_counts.ravel())) == (0, 20, {1})
    local = explain.dense_equivalent(L.LocallyConnected2D(1, 3), (5, 5, 1))
    assert (local.nonzeros, local.free, set(local.tie_counts.ravel())) == (81, 81, {1})


def test_groups_and_depthwise_have_zeros_between_channels():
    plain = explain.dense_equivalent(L.Conv1D(4, 3), (6, 4))
    groups = explain.dense_equivalent(L.Conv1D(4, 3, groups=2), (6, 4))
    depthwise = explain.dense_equivalent(L.DepthwiseConv1D(3), (6, 4))
    assert plain.nonzeros == 2 * groups.nonzeros == 4 * depthwise.nonzeros
    assert depthwise.kernel.shape == depthwise.tie_counts.shape == (3, 4, 1)


def test_a_transposed_convolution_is_the_transposed_matrix():
    attrs = {"stride": 2, "padding": ((1, 0), (0, 1)), "dilation": 1, "groups": 1}
    kernel = np.random.default_rng(0).normal(size=(3, 2, 2, 3))
    forward = explain.dense_equivalent(attrs, (7, 6, 2), kernel=kernel)
    sizes = {"output_size": (7, 6)}
    back = explain.dense_equivalent({**attrs, **sizes}, forward.output_shape, kernel=kernel)
    np.testing.assert_array_equal(back.matrix.toarray(), forward.matrix.toarray().T)
    assert back.output_shape == (7, 6, 2)


def test_zeros_in_the_kernel_stay_ties():
    wide = explain.dense_equivalent(L.Conv2D(1, 2, kernel_initializer="zeros"), (3, 3, 1))
    assert wide.matrix.nnz == wide.nonzeros == 16
    assert (wide.tie_map() >= 0).sum() == 16 and wide.tie_map()[0].tolist() == [
        0,
        1,
        -1,
        2,
        3,
        -1,
        -1,
        -1,
        -1,
    ]


def test_sparse_gradients_are_summed_too():
    from scipy import sparse

    wide = explain.dense_equivalent(L.Conv1D(2, 2), (4, 1))
    values = np.random.default_rng(0).normal(size=wide.nonzeros)
    places = (wide.ties.rows, wide.ties.columns)
    matrix = sparse.csr_array((values, places), shape=wide.shape)
    np.testing.assert_allclose(wide.tied_sum(matrix), wide.tied_sum(values))
    with pytest.raises(ShapeError, match="A gradient of this matrix"):
        wide.tied_sum(values[1:])


def test_a_layer_that_is_built_already_takes_another_size():
    layer, _ = built("conv2d")
    x = np.random.default_rng(0).normal(size=(1, 9, 4, 2))
    np.testing.assert_allclose(explain.dense_equivalent(layer, (9, 4, 2)).apply(x), layer(x), atol=1e-12)


def test_text_and_json():
    wide = explain.dense_equivalent(L.Conv2D(1, 3, name="c"), (4, 4, 1))
    assert "c/kernel (4, 4, 1) -> (2, 2, 1) as a matrix" in str(wide) and "<table>" in wide._repr_html_()
    values = json.loads(json.dumps(wide.to_dict()))
    assert values["counts"]["of them tied"] == 36 and len(values["ties"]) == 36
    chain = explain.dense_equivalent(L.SeparableConv2D(2, 3), (4, 4, 1))
    assert str(chain).count("as a matrix") == 2 and len(chain.to_dict()["stages"]) == 2


def test_messages():
    with pytest.raises(ArgumentError, match="no kernel to write"):
        explain.dense_equivalent(L.Flatten(), (4, 4, 1))
    with pytest.raises(ArgumentError, match="takes a layer"):
        explain.dense_equivalent("conv", (4, 4, 1))
    with pytest.raises(ArgumentError, match="give kernel="):
        explain.dense_equivalent({"stride": 1}, (4, 4, 1))
    with pytest.raises(ArgumentError, match="in pixels"):
        explain.dense_equivalent({"padding": "same"}, (4, 4, 1), kernel=np.ones((3, 3, 1, 1)))
    with pytest.raises(ShapeError, match="takes 2 channels"):
        explain.dense_equivalent({"stride": 1}, (4, 4, 1), kernel=np.ones((3, 3, 2, 1)))
    with pytest.raises(ShapeError, match="must have shape"):
        explain.dense_equivalent(L.Conv2D(1, 3), (4, 4, 1)).apply(np.ones((1, 5, 5, 1)))
    with pytest.raises(ArgumentError, match="smaller input_shape"):
        explain.dense_equivalent(L.Conv2D(2, 3), (100, 100, 1)).tie_map()


@st.composite
def geometries(draw):
    """(attributes, input shape, kernel shape) of a convolution in 1 to 3 dimensions, also with crops."""
    rank, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    axis = st.tuples(*[st.integers(1, 3)] * 3, st.integers(-1, 2), st.integers(-1, 2), st.integers(0, 3))
    size, stride, dilation, before, after, extra = zip(*[draw(axis) for _ in range(rank)])
    spans = [(k - 1) * d + 1 for k, d in zip(size, dilation)]
    inputs = tuple(max(s - a - b, -a, -b, 0) + 1 + e for s, a, b, e in zip(spans, before, after, extra))
    attrs = {"stride": stride, "dilation": dilation, "padding": tuple(zip(before, after)), "groups": groups}
    channels, filters = draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    return attrs, (*inputs, groups * channels), (*size, channels, filters)


@given(geometries(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_any_geometry(geometry, seed):
    """Matrix, dense gradient and ledger agree with the engine for random windows, with crops and groups."""
    attrs, shape, kernel_shape = geometry
    rng = np.random.default_rng(seed)
    x, kernel = rng.normal(size=(2, *shape)), rng.normal(size=kernel_shape)
    wide = explain.dense_equivalent(attrs, shape, kernel=kernel)
    expected = OPERATORS["conv"].run(x, kernel, **attrs)
    np.testing.assert_allclose(wide.apply(x), expected, rtol=0, atol=1e-12)
    delta = rng.normal(size=expected.shape)
    gradient = OPERATORS["conv_grad_kernel"].run(x, delta, kernel_size=kernel_shape[:-2], **attrs)
    np.testing.assert_allclose(wide.kernel_gradient(x, delta), gradient, rtol=0, atol=1e-12)
    index = tuple(int(i) for i in rng.integers(0, kernel_shape))
    factors = Factors("conv", x, delta, gradient=gradient, attrs=attrs)
    book = explain.ledger(factors, weight=index)
    assert abs(book.residual) <= 1e-12 and len(book.terms) == delta[..., 0].size
