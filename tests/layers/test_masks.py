"""Masks travel beside values as in Keras: the numbers of live Keras 3.15 on jax, and layers of one's own."""

import warnings

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, ops, optimizers


def wave(*shape):
    return np.sin(np.arange(1, 1 + np.prod(shape)) * 1.7).reshape(shape).astype("float32")


WORDS = np.array([[1, 2, 0, 0], [3, 1, 2, 0], [2, 2, 1, 3]])
STEPS = wave(3, 4, 2)
STEPS[0, 2:], STEPS[1, 3] = 0, 0


def embedded(features=3):
    return layers.Embedding(4, features, mask_zero=True)


def two_embeddings(merge):
    a = Input((4,))
    return Model(a, layers.GlobalAveragePooling1D()(merge([embedded()(a), embedded()(a)])))


def attending(attend):
    a = Input((4,))
    return Model(a, layers.GlobalAveragePooling1D()(attend(embedded(4)(a))))


def stack(*parts, shape=(4,)):
    return Sequential([Input(shape), *parts])


def attention(x):
    return layers.Attention()([x, x])


def heads(x):
    return layers.MultiHeadAttention(2, 2)(x, x)


CLASSES = np.array([[0, 1, 2, 0]] * 3)
KERAS = [
    (
        "mean of steps",
        lambda: stack(embedded(), layers.Dropout(0.0), layers.GlobalAveragePooling1D(), layers.Dense(2)),
        wave(3, 2),
        [0.52704, 0.51286, 0.50386],
    ),
    ("loss", lambda: stack(embedded(), layers.Dense(2)), wave(3, 4, 2), [0.46671, 0.42385, 0.41293]),
    (
        "sparse_categorical_crossentropy",
        lambda: stack(embedded(), layers.TimeDistributed(layers.Dense(3, activation="softmax"))),
        CLASSES,
        [1.17113, 1.137, 1.11276],
    ),
    (
        "masking",
        lambda: stack(
            layers.Masking(),
            layers.Dense(2, activation="relu"),
            layers.LayerNormalization(),
            layers.GlobalAveragePooling1D(),
            shape=(4, 2),
        ),
        wave(3, 2),
        [0.60837, 0.50689, 0.48399],
    ),
    ("add", lambda: two_embeddings(layers.Add()), wave(3, 3), [0.52199, 0.41956, 0.35853]),
    ("join", lambda: two_embeddings(layers.Concatenate(axis=1)), wave(3, 3), [0.46522, 0.44616, 0.42917]),
    ("heads", lambda: attending(heads), wave(3, 4), [0.23886, 0.07439, 0.07005]),
]


@pytest.mark.parametrize(("name", "make", "y", "expected"), KERAS, ids=[case[0] for case in KERAS])
def test_training_with_a_mask_goes_the_way_of_keras(name, make, y, expected):
    model = make()
    model.set_weights([wave(*w.shape) * 0.5 for w in model.get_weights()])
    model.compile(optimizers.SGD(0.5), name if "_" in name else "mse")
    x = STEPS if name == "masking" else WORDS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = model.fit(x, y, batch_size=3, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["loss"], expected, rtol=3e-5)


def test_attention_looks_at_what_counts():
    model = attending(attention)
    x = np.array([[1, 2, 0, 0]])
    short = attending(attention)
    short.set_weights(model.get_weights())
    np.testing.assert_allclose(model(x), short(np.array([[1, 2, 0, 0]])), rtol=1e-6)
    table = model.get_weights()[0]
    table[0] = 50.0  # what does not count may be anything
    before = model(x)
    model.set_weights([table])
    np.testing.assert_allclose(model(x), before, rtol=1e-6)


def test_weights_of_samples_and_a_mask_both_count():
    model = stack(embedded(), layers.Dense(2))
    model.compile("sgd", "mse")
    y, weights = wave(3, 4, 2), np.array([1.0, 2.0, 0.5])
    counts = (WORDS != 0) * weights[:, None]
    errors = ((model(WORDS) - y) ** 2).mean(-1)
    expected = (errors * counts).sum() / (WORDS != 0).sum()
    assert model.evaluate(WORDS, y, sample_weight=weights, verbose=0) == pytest.approx(expected, rel=1e-5)


class Counted(layers.Layer):
    """How many steps count; from a mask that `call` gets."""

    def call(self, x, mask=None):
        counts = ops.ones_like(x[..., 0]) if mask is None else ops.cast(mask, "float32")
        return ops.sum(counts, axis=1, keepdims=True)

    def compute_mask(self, inputs, mask=None):
        return None


class Every(layers.Layer):
    """Passes values on and lets every second step count."""

    def call(self, x):
        return x * 1.0

    def compute_mask(self, inputs, mask=None):
        return ops.logical_and(mask, ops.arange(inputs.shape[1]) % 2 == 0)


def test_layers_of_ones_own_get_masks_and_change_them():
    counted = stack(embedded(), Counted())
    np.testing.assert_array_equal(counted(WORDS)[:, 0], [2, 3, 4])
    halved = stack(embedded(), Every(), layers.Dropout(0.5), Counted())
    np.testing.assert_array_equal(halved(WORDS)[:, 0], [1, 2, 2])
    nested = stack(Sequential([Input((4,)), embedded()]), Counted())
    np.testing.assert_array_equal(nested(WORDS)[:, 0], [2, 3, 4])


def test_a_mask_that_is_lost_is_said_once():
    model = stack(embedded(), layers.Conv1D(2, 1), Counted())
    with pytest.warns(UserWarning, match="does not know masks"):
        lost = model(WORDS)
    np.testing.assert_array_equal(lost[:, 0], 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(WORDS)
    plain = stack(layers.Embedding(4, 3), Counted())
    np.testing.assert_array_equal(plain(WORDS)[:, 0], 4)


def test_a_mask_argument_is_refused_where_it_would_change_nothing():
    with pytest.raises(TypeError, match="'mask'"):
        layers.Dense(2)(wave(3, 4), mask=np.ones((3, 4), bool))
