"""EinsumDense and Dot: their kernels, how these begin, what a ledger of them lists, what is refused."""

import numpy as np
import pytest

from kernelearn import Sequential, explain
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.explain.gradient.model_factors import factors_of
from kernelearn.layers import Dense, Dot, EinsumDense, Flatten, Input, dot

RNG = np.random.default_rng(0)


def heads(**options):
    return EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de", name="heads", **options)


def test_it_is_a_dense_layer_with_its_units_in_another_shape():
    layer, plain = heads(activation="tanh"), Dense(6, activation="tanh")
    x = RNG.normal(size=(4, 5, 7)).astype("float32")
    layer(x), plain(x)
    kernel, bias = RNG.normal(size=(7, 2, 3)), RNG.normal(size=(2, 3))
    layer.set_weights([kernel, bias])
    plain.set_weights([kernel.reshape(7, 6), bias.ravel()])
    np.testing.assert_array_equal(layer(x), plain(x).reshape(4, 5, 2, 3))


def test_its_program_is_one_product_with_the_bias_at_its_end():
    model = Sequential([Input((5, 7)), heads()])
    model.compile("sgd", "mse")
    assert [row.operators for row in model.step("predict").executable.work()] == [("dense", "bias_add")]


@pytest.mark.parametrize(
    ("equation", "shape", "fans"), [("abc,cde->abde", (None, 10, 20), (40, 200)), ("ab,cb->ac", 30, (40, 30))]
)
def test_first_values_count_inputs_and_outputs_by_their_letters(equation, shape, fans):
    layer = EinsumDense(equation, shape, kernel_initializer="glorot_uniform")
    layer.build((None, 6, 40) if "d" in equation else (None, 40))
    limit = np.sqrt(6 / sum(fans))
    assert 0.9 * limit < np.abs(layer.kernel.numpy()).max() <= limit
    assert layer.get_config()["kernel_initializer"]["config"].get("input_axes") is None


def test_a_ledger_lists_what_made_the_gradient_of_one_number():
    model = Sequential([Input((5, 7)), heads(kernel_regularizer="l2"), Flatten(), Dense(3)])
    model.compile("sgd", "mse")
    x, y = RNG.normal(size=(4, 5, 7)), RNG.normal(size=(4, 3))
    factors = factors_of(model, x, y, "heads")
    book = explain.ledger(factors, weight=(4, 1, 2))
    assert book.kind == "dense" and book.terms.shape == (20,)
    np.testing.assert_allclose(book.inputs, x[..., 4].ravel(), rtol=1e-6)
    assert book.relative_residual < 1e-6 and book.penalty == pytest.approx(
        0.02 * model.get_layer("heads").kernel.numpy()[4, 1, 2], rel=1e-4
    )
    bias = explain.ledger(factors, weight=("bias", 1, 2))
    assert bias.total == pytest.approx(bias.gradient, rel=1e-5)
    np.testing.assert_array_equal(bias.deltas, book.deltas)


def test_dot_multiplies_image_by_image():
    a, b = RNG.normal(size=(2, 3, 5)), RNG.normal(size=(2, 4, 3))
    np.testing.assert_allclose(
        Dot((1, 2), dtype="float64")([a, b]), np.einsum("nac,nba->ncb", a, b), rtol=1e-12
    )
    np.testing.assert_allclose(
        dot([a[:, 0], a[:, 1]], axes=1, dtype="float64"), (a[:, 0] * a[:, 1]).sum(1)[:, None]
    )


@pytest.mark.parametrize(
    ("make", "shapes", "error", "text"),
    [
        (lambda: EinsumDense("ab->b", 3), None, ArgumentError, "input,kernel->output"),
        (lambda: EinsumDense("ab,bc->ac", (3, 4)), [(5,)], ShapeError, "must have 1 sizes"),
        (lambda: EinsumDense("abc,cd->abd", (4, 3)), [(5, 7)], ShapeError, "is 5 in the input"),
        (lambda: EinsumDense("abc,bcd->abd", (None, 3)), [(5,)], ShapeError, "an operand of 2 axes"),
        (lambda: EinsumDense("ab,bc->ac", 3, bias_axes="b"), [(5,)], ArgumentError, "must be letters"),
        (lambda: EinsumDense("ab,bz->ac", 3), [(5,)], ShapeError, "needs the size of 'z'"),
        (lambda: Dot((0, 1)), [(3,), (3,)], ArgumentError, "besides the batch"),
        (lambda: Dot(1), [(3,), (4,)], ShapeError, "equal sizes"),
        (lambda: Dot((1, 1, 1)), None, ArgumentError, "one axis or two"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(make, shapes, error, text):
    with pytest.raises(error, match=text):
        make().compute_output_shape(*[(None, *shape) for shape in shapes or []])
