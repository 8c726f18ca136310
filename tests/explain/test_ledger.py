"""The ledger of a weight: its terms are the products they claim to be and sum to the engine's gradient."""

import itertools
from itertools import product

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, config, explain
from kernelearn import layers as L
from kernelearn.errors import ArgumentError, UnknownNameError
from kernelearn.explain.gradient.pairs import operator_index, window_at
from kernelearn.recording import Factors
from tests.explain.layer_grid import GRID, some_factors, some_indices
from tests.sweeps import some

CASES = [(name, weight) for name, (_, _, weights) in GRID.items() for weight in weights]


BOUNDS = {"float32": 1e-6, "float64": 1e-13}
# Each weight in one of the float types.
PAIRS = [(*case, dtype) for case, dtype in zip(CASES, itertools.cycle(BOUNDS))]


@pytest.mark.parametrize(
    ("name", "weight", "dtype"), some([(*case, dtype) for case in CASES for dtype in BOUNDS], quick=PAIRS)
)
def test_the_terms_sum_to_the_gradient_of_the_engine(name, weight, dtype):
    bound = BOUNDS[dtype]
    make, shape, _ = GRID[name]
    factors = some_factors(make, shape, weight, dtype)
    assert factors.gradient.dtype == dtype
    for index in some_indices(factors.gradient.shape):
        book = explain.ledger(factors, weight=index)
        assert book.relative_residual < bound, (index, book)
        assert book.gradient == float(factors.gradient[index])
        assert np.array_equal(book.terms, book.inputs * book.deltas) and book.terms.dtype == np.float64


@pytest.mark.parametrize(("name", "weight"), CASES)
def test_whole_kernels_at_once(name, weight):
    make, shape, _ = GRID[name]
    factors = some_factors(make, shape, weight)
    scale = np.abs(factors.gradient).max()
    assert scale > 0
    np.testing.assert_allclose(explain.gradient_of(factors), factors.gradient, rtol=0, atol=1e-13 * scale)
    images, by_image = explain.gradient_by_image(factors)
    assert images.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(by_image.sum(0), factors.gradient, rtol=0, atol=1e-13 * scale)
    index = some_indices(factors.gradient.shape)[-1]
    sums = explain.ledger(factors, weight=index).by_image()
    np.testing.assert_allclose(sums.sums, by_image[(slice(None), *index)], rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize("name", GRID)
def test_the_bias_ledger(name):
    make, shape, weights = GRID[name]
    factors = some_factors(make, shape, weights[-1])
    f = factors.bias_gradient.size - 1
    book = explain.ledger(factors, weight=("bias", f))
    assert (book.kind, book.weight, book.index) == ("bias", "bias", (f,))
    assert set(book.inputs) == {1.0} and book.relative_residual < 1e-13
    assert book.gradient == factors.bias_gradient[f]
    assert len(book.terms) == factors.delta[..., 0].size


def test_terms_by_hand():
    rng = np.random.default_rng(1)
    x, delta = rng.normal(size=(2, 5, 6, 4)), rng.normal(size=(2, 3, 3, 6))
    attrs = {"stride": (2, 2), "padding": ((1, 1), (0, 1)), "dilation": (1, 1), "groups": 2}
    factors = Factors("conv", x, delta, gradient=np.zeros((3, 3, 2, 6)), attrs=attrs, images=np.array([7, 9]))
    book = explain.ledger(factors, weight=(0, 2, 1, 4))  # filter 4 is of group 1: channels 2 and 3
    expected = [
        x[n, 2 * p - 1, 2 * q + 2, 3] * delta[n, p, q, 4] if 2 * p >= 1 and 2 * q + 2 < 6 else 0.0
        for n, p, q in product(range(2), range(3), range(3))
    ]
    np.testing.assert_array_equal(book.terms, expected)
    assert book.positions[:4].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0]]
    assert book.pixels[:4].tolist() == [[-1, 2], [-1, 4], [-1, 6], [1, 2]]
    assert book.images.tolist() == [7] * 9 + [9] * 9 and book.rows.tolist() == [0] * 9 + [1] * 9
    assert book.in_padding.tolist() == ([True] * 3 + [False, False, True] * 2) * 2


def test_negative_padding_crops_the_input():
    rng = np.random.default_rng(1)
    x, delta = rng.normal(size=(1, 6, 1)), rng.normal(size=(1, 2, 1))
    attrs = {"stride": (1,), "padding": ((-2, -1),), "dilation": (1,), "groups": 1}
    gradient = sum(x[0, 2 + p + 1, 0] * delta[0, p, 0] for p in range(2))
    factors = Factors("conv", x, delta, gradient=np.full((2, 1, 1), gradient), attrs=attrs)
    book = explain.ledger(factors, weight=(1, 0, 0))
    assert book.pixels.ravel().tolist() == [3, 4] and abs(book.residual) < 1e-15
    np.testing.assert_allclose(explain.gradient_of(factors)[1, 0, 0], gradient)


def test_a_weight_that_is_negative_counts_from_the_end():
    factors = some_factors(*GRID["conv2d"][:2])
    assert explain.ledger(factors, weight=(-1, 0, -1, 2)).index == (2, 0, 1, 2)


def test_sums_by_image_position_and_class():
    factors = some_factors(lambda: L.Conv2D(2, 3), (5, 5, 1), images=4)
    factors = Factors(**{**vars(factors), "images": np.array([3, 8, 3, 5]), "labels": np.array([1, 0, 1, 0])})
    book = explain.ledger(factors, weight=(1, 1, 0, 1))
    terms = book.terms.reshape(4, 3, 3)
    by_image = book.by_image()
    assert by_image.keys.tolist() == [3, 5, 8] and by_image.counts.tolist() == [18, 9, 9]
    np.testing.assert_allclose(by_image.sums, [terms[[0, 2]].sum(), terms[3].sum(), terms[1].sum()])
    np.testing.assert_allclose(book.by_position(), terms.sum(0))
    by_class = book.by_class()
    np.testing.assert_allclose(by_class.sums, [terms[[1, 3]].sum(), terms[[0, 2]].sum()])
    assert by_class.keys.tolist() == [0, 1]


def test_a_dense_ledger_has_one_term_per_image_and_a_convolution_one_per_position_too():
    dense = explain.ledger(some_factors(lambda: L.Dense(4), (5,)), weight=(2, 1))
    conv = explain.ledger(some_factors(lambda: L.Conv2D(4, 3), (6, 6, 2)), weight=(0, 0, 1, 1))
    rows = explain.ledger(some_factors(lambda: L.Dense(4), (3, 5)), weight=(2, 1))
    assert (len(dense.terms), len(conv.terms), len(rows.terms)) == (5, 5 * 16, 5 * 3)
    assert dense.positions.shape == (5, 0) and dense.by_position().shape == ()
    assert "5 images n of x[n, 2] * delta[n, 1]" in dense.formula
    assert "5 images n and 4 x 4 positions (p, q) of x[n, p, q, 1] * delta[n, p, q, 1]" in conv.formula


def test_the_formula_shows_stride_dilation_and_padding():
    make = lambda: L.Conv2D(2, 3, strides=2, padding="same")  # noqa: E731
    book = explain.ledger(some_factors(make, (7, 7, 1)), weight=(0, 2, 0, 1))
    assert "x[n, p*2 - 1, q*2 + 1, 0] * delta[n, p, q, 1]" in book.formula
    book = explain.ledger(some_factors(*GRID["transpose2d"][:2]), weight=(1, 2, 0, 1))
    assert "x[n, p, q, 1] * delta[n, p*2 + 1, q*2 + 2, 0]" in book.formula


def shared_model(dtype="float64"):
    config.set_floatx(dtype)
    conv = L.Conv2D(2, 3, padding="same", name="twice")
    image = Input((5, 5, 2))
    result = L.Flatten()(L.Activation("tanh")(conv(L.Activation("tanh")(conv(image)))))
    model = Model(image, result)
    model.compile("sgd", "mse")
    config.set_floatx("float32")
    return model


def test_a_shared_layer_has_the_terms_of_all_its_calls():
    rng = np.random.default_rng(3)
    factors = explain.factors_of(
        shared_model(), rng.normal(size=(3, 5, 5, 2)), rng.normal(size=(3, 50)), "twice"
    )
    assert len(factors.parts) == 2
    book = explain.ledger(factors, weight=(0, 1, 1, 0))
    assert len(book.terms) == 2 * 3 * 25 and np.bincount(book.uses).tolist() == [75, 75]
    assert book.relative_residual < 1e-13 and "2 calls" in book.formula
    np.testing.assert_allclose(explain.gradient_of(factors), factors.gradient, rtol=1e-12, atol=1e-15)
    assert explain.ledger(factors, weight=("bias", 1)).relative_residual < 1e-13
    assert [c.window.shape for c in book.top(3)] == [(3, 3, 2)] * 3


def test_penalties_on_the_weight_are_told_apart():
    factors = some_factors(lambda: L.Conv2D(2, 3, kernel_regularizer="l2"), (5, 5, 1))
    book = explain.ledger(factors, weight=(0, 0, 0, 1))
    assert book.penalty != 0 and book.relative_residual < 1e-13
    assert book.total + book.penalty == pytest.approx(book.gradient, rel=1e-12)


def test_the_largest_terms_show_what_was_read():
    x = np.arange(2 * 5 * 5, dtype=float).reshape(2, 5, 5, 1)
    delta = np.zeros((2, 3, 3, 1))
    delta[1, 2, 0, 0], delta[0, 1, 1, 0] = -3.0, 2.0
    attrs = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    factors = Factors("conv", x, delta, gradient=np.zeros((3, 3, 1, 1)), attrs=attrs, images=np.array([4, 6]))
    first, second = explain.ledger(factors, weight=(0, 1, 0, 0)).top(2)
    assert (first.image, first.position, first.pixel, first.row) == (6, (2, 0), (2, 1), 1)
    assert (first.input, first.delta, first.term) == (36.0, -3.0, -108.0)
    np.testing.assert_array_equal(first.window, x[1, 2:5, 0:3])
    assert second.image == 4 and abs(first.share) + abs(second.share) == pytest.approx(1)
    assert explain.ledger(factors, weight=(0, 1, 0, 0)).top(5, sign=1)[0].term == second.term


def test_crops_of_the_images_are_what_the_position_sees():
    stack = [Input((8, 8, 1)), L.Conv2D(2, 3, name="a"), L.Conv2D(2, 3, name="b"), L.Flatten()]
    model = Sequential(stack)
    model.compile("sgd", "mse")
    data = np.random.default_rng(0).normal(size=(9, 8, 8, 1)).astype("float32")
    factors = explain.factors_of(model, data[3:6], np.zeros((3, 32)), "b", images=[3, 4, 5])
    top = explain.ledger(factors, weight=(0, 0, 1, 1)).top(3, images=data, model=model)
    for c in top:
        p, q = c.position
        assert c.crop_window == (slice(p, p + 5), slice(q, q + 5))
        np.testing.assert_array_equal(c.crop, data[c.image, p : p + 5, q : q + 5])
    by_function = explain.ledger(factors, weight=(0, 0, 1, 1)).top(1, images=lambda i: data[i], model=model)
    np.testing.assert_array_equal(by_function[0].crop, top[0].crop)
    with pytest.raises(ArgumentError, match="model="):
        explain.ledger(factors, weight=(0, 0, 1, 1)).top(1, images=data)


@pytest.mark.parametrize("name", ["conv2d-groups", "depthwise2d", "transpose2d", "dense", "conv2d-dilated"])
def test_the_window_holds_the_input_of_the_term(name):
    factors = some_factors(*GRID[name][:2])
    for index in some_indices(factors.gradient.shape, 3):
        at = operator_index(index, factors.gradient.shape, factors.kernel_shape)
        for c in explain.ledger(factors, weight=index).top(4):
            place = {"transpose2d": (0, 0, at[-1]), "dense": (at[0],)}.get(name, at[:-1])
            assert c.window[place] == c.input


def test_window_at_reads_zeros_in_the_padding():
    factors = some_factors(*GRID["conv2d-same"][:2])
    corner = window_at(factors.parts[0], 0, (0, 0), factors.kernel_shape, 0)
    assert corner.shape == (3, 2, 2) and not corner[0].any() and corner[1].all()


def test_the_report_in_text_html_and_json():
    import json

    book = explain.ledger(some_factors(*GRID["conv2d"][:2]), weight=(0, 1, 0, 2))
    assert "residual" in str(book) and "BatchNormalization" in str(book) and book.formula in str(book)
    assert "<table>" in book._repr_html_()
    values = json.loads(json.dumps(book.to_dict()))
    assert values["terms"] == book.terms.tolist() and values["residual"] == book.residual


def test_a_batch_of_labels_is_taken_from_class_numbers_and_one_hot_rows():
    model = Sequential([Input((3,)), L.Dense(2, activation="softmax", name="d")])
    model.compile("sgd", "categorical_crossentropy")
    factors = explain.factors_of(model, np.ones((2, 3)), np.eye(2), "d")
    assert factors.labels.tolist() == [0, 1]
    before = model.get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert explain.factors_of(model, np.ones((2, 3)), np.array([1, 0]), "d").labels.tolist() == [1, 0]
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def test_messages():
    factors = some_factors(*GRID["conv2d"][:2])
    for weight in [(0, 0, 0), (3, 0, 0, 0), (0, 0, 0, 0, 0)]:
        with pytest.raises(ArgumentError, match="one whole number per axis"):
            explain.ledger(factors, weight=weight)
    for weight in [(), (0.5, 0, 0, 0), "bias", None]:
        with pytest.raises(ArgumentError, match="must be an index"):
            explain.ledger(factors, weight=weight)
    with pytest.raises(ArgumentError, match="no classes"):
        explain.ledger(factors, weight=(0, 0, 0, 0)).by_class()
    with pytest.raises(ArgumentError, match="layer= and step="):
        explain.ledger(object(), weight=(0, 0, 0, 0))
    with pytest.raises(UnknownNameError, match="trained kernel"):
        explain.factors_of(shared_model(), np.zeros((1, 5, 5, 2)), np.zeros((1, 50)), "twise")
