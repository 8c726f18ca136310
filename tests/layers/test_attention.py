"""Layers of attention: ways to call them, masks, dropout, their programs, ledgers inside of them, messages.

Their numbers against Keras's are in tests/parity/test_golden_attention.py.
"""

import warnings

import numpy as np
import pytest

from kernelearn import Input, Model, explain, ops, regularizers
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.explain.gradient.model_factors import factors_of
from kernelearn.layers import (
    AdditiveAttention,
    Attention,
    Dense,
    Embedding,
    GlobalAveragePooling1D,
    GroupQueryAttention,
    MultiHeadAttention,
    Softmax,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6, 8)).astype("float32")
Z = RNG.normal(size=(4, 5, 3)).astype("float32")
MAPS = X[:, None]


def network(layer):
    x = Input((6, 8))
    return Model(x, Dense(2)(GlobalAveragePooling1D()(layer(x, x))))


def test_arguments_by_position_and_by_name_are_the_same():
    layer = MultiHeadAttention(2, 4)
    key = RNG.normal(size=(4, 5, 7)).astype("float32")
    expected = layer(X, Z, key)
    assert layer.key.kernel.shape == (7, 2, 4) and layer.value.kernel.shape == (3, 2, 4)
    np.testing.assert_array_equal(layer(query=X, value=Z, key=key), expected)
    named = MultiHeadAttention(2, 4)
    named(query=X, key=key, value=Z)
    assert [w.shape for w in named.weights] == [w.shape for w in layer.weights]
    assert named.query_dense is named.query and named.output_dense is named.attention_output


def test_a_mask_says_where_to_look():
    layer, mask = MultiHeadAttention(2, 4), np.zeros((4, 6, 5), bool)
    mask[:, :, 2] = True
    y, weights = layer(X, Z, attention_mask=mask, return_attention_scores=True)
    np.testing.assert_array_equal(weights, np.broadcast_to(mask[:, None], weights.shape))
    np.testing.assert_allclose(y, np.repeat(y[:, :1], 6, axis=1), rtol=1e-5)
    nowhere = layer(X, Z, attention_mask=np.zeros((4, 6, 5), bool), return_attention_scores=True)[1]
    np.testing.assert_allclose(nowhere, 0.2, rtol=1e-5)
    padded = layer(
        X, Z, value_mask=mask[:, 0], query_mask=np.ones((4, 6), bool), return_attention_scores=True
    )
    np.testing.assert_array_equal(padded[1], weights)


def test_a_mask_may_be_an_input_of_the_model():
    layer, mask = MultiHeadAttention(2, 4, name="heads"), np.tri(6, dtype=bool)
    x, m = Input((6, 8)), Input((6, 6), dtype="bool")
    model = Model([x, m], layer(x, x, attention_mask=m))
    found = model.predict([X, np.broadcast_to(mask, (4, 6, 6))], verbose=0)
    np.testing.assert_allclose(found, layer(X, X, use_causal_mask=True), rtol=1e-5, atol=1e-6)


def test_masks_that_travel_with_sequences_are_seen_and_passed_on():
    numbers = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]], "int32")
    i = Input((5,), dtype="int32")
    x = Embedding(10, 8, mask_zero=True)(i)
    y, weights = MultiHeadAttention(2, 4)(x, x, return_attention_scores=True)
    z = Attention()([x, x])
    model = Model(i, [y, weights, GlobalAveragePooling1D()(y), z])
    with warnings.catch_warnings():  # its projections lose the mask, and it is the layer itself that uses it
        warnings.simplefilter("error")
        y, weights, mean, z = model.predict(numbers, verbose=0)
    assert np.all(weights[0, :, :3, 3:] == 0) and np.all(weights[1] > 0) and np.all(z[0, 3:] == 0)
    np.testing.assert_allclose(mean, [y[0, :3].mean(0), y[1].mean(0)], rtol=1e-5, atol=1e-7)


def test_positions_beyond_a_causal_mask_change_nothing():
    for layer in (MultiHeadAttention(2, 4), GroupQueryAttention(4, 4, 2)):
        other = X.copy()
        other[:, 4:] += 1
        before, after = (layer(x, x, use_causal_mask=True) for x in (X, other))
        np.testing.assert_array_equal(before[:, :4], after[:, :4])
        assert np.abs(before - after)[:, 4:].max() > 1e-3


def test_groups_share_keys_and_values():
    layer, whole = GroupQueryAttention(4, 4, 2), MultiHeadAttention(4, 4)
    layer(X, X), whole(X, X)
    query, query_bias, *shared = layer.get_weights()[:6]
    whole.set_weights(
        [query, query_bias, *(np.repeat(w, 2, axis=-2) for w in shared), *layer.get_weights()[6:]]
    )
    np.testing.assert_allclose(layer(X, X), whole(X, X), rtol=1e-5, atol=1e-6)


def test_dropout_acts_in_training_and_not_on_the_weights_that_are_given_back():
    layer = MultiHeadAttention(2, 4, dropout=0.5)
    still, weights = layer(X, X, return_attention_scores=True)
    moved, same = layer(X, X, training=True, return_attention_scores=True)
    assert np.abs(still - moved).max() > 1e-3
    np.testing.assert_array_equal(weights, same)
    np.testing.assert_allclose(same.sum(-1), 1.0, rtol=1e-5)


def test_its_training_step_has_kernels_for_everything_and_no_transposed_copies():
    model = network(MultiHeadAttention(2, 4, dropout=0.1))
    model.compile("adam", "mse")
    rows = model.step("train").executable.work()
    names = [name for row in rows for name in row.operators]
    assert all(row.is_native for row in rows) and "transpose" not in names
    assert ("dense", "bias_add", "scale") in [row.operators for row in rows]
    history = model.fit(X, np.ones((4, 2)), epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_a_projection_inside_has_a_ledger():
    model = network(MultiHeadAttention(2, 4, name="heads"))
    model.compile("sgd", "mse")
    factors = factors_of(model, X, np.ones((4, 2)), "heads/query")
    book = explain.ledger(factors, weight=(5, 1, 2))
    assert book.kind == "dense" and book.terms.shape == (24,) and book.relative_residual < 1e-5
    np.testing.assert_array_equal(book.inputs, X[..., 5].ravel().astype(float))
    output = explain.ledger(factors_of(model, X, np.ones((4, 2)), "heads/attention_output"), weight=(1, 2, 5))
    assert output.relative_residual < 1e-5


def test_an_activity_penalty_is_on_what_every_projection_gives():
    model = network(layer := MultiHeadAttention(2, 4, activity_regularizer=regularizers.L2(0.1)))
    model.compile("sgd", "mse")
    gives = [dense(X) for dense in (layer.query, layer.key, layer.value)]
    plain = MultiHeadAttention(2, 4)
    plain(X, X)
    plain.set_weights(layer.get_weights())
    gives.append(plain(X, X))
    y = model.predict(X, verbose=0)
    penalty = sum(0.1 * float((g.astype(float) ** 2).sum()) / len(X) for g in gives)
    assert model.evaluate(X, np.zeros((4, 2)), verbose=0) == pytest.approx(penalty + np.mean(y * y), rel=1e-5)


def test_a_softmax_takes_a_mask_in_every_form():
    mask, layer = np.tri(6, 8, dtype=bool), Softmax()
    expected = np.exp(X) * mask / (np.exp(X) * mask).sum(-1, keepdims=True)
    np.testing.assert_allclose(layer(X, mask=mask), expected, rtol=1e-5, atol=1e-7)
    x, m = Input((6, 8)), Input((6, 8), dtype="bool")
    model = Model([x, m], layer(x, mask=m))
    found = model.predict([X, np.broadcast_to(mask, X.shape)], verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_attention_gives_zeros_where_the_query_is_masked():
    masks = [np.array([[True] * 3 + [False] * 3] * 4), None]
    y = Attention()([X, X], mask=masks)
    assert np.all(y[:, 3:] == 0) and np.all(y[:, :3] != 0)
    np.testing.assert_allclose(
        Attention()([X, X]), ops.matmul(ops.softmax(ops.matmul(X, X.transpose(0, 2, 1))), X), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: MultiHeadAttention(0, 4), ArgumentError, "num_heads must be a positive int"),
        (lambda: GroupQueryAttention(4, 3, 2), ArgumentError, "multiple of num_key_value_heads"),
        (lambda: MultiHeadAttention(2, 4)(X, X, Z), ShapeError, "same positions"),
        (lambda: MultiHeadAttention(2, 4, attention_axes=2)(X, X), ArgumentError, "from 1 to 1 of inputs"),
        (lambda: MultiHeadAttention(2, 4)(MAPS, MAPS, use_causal_mask=True), ArgumentError, "no one order"),
        (lambda: MultiHeadAttention(2, 4, flash_attention=True), ArgumentError, "flash_attention"),
        (lambda: Attention()(X), ArgumentError, r"called on a list, \[query, value\]"),
        (lambda: AdditiveAttention()([X, X, X, X]), ArgumentError, "called on a list"),
        (lambda: Attention(score_mode="sum"), ArgumentError, "score_mode must be one of"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(call, error, text):
    with pytest.raises(error, match=text):
        call()
