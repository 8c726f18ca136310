"""Losses: gradients against central differences, reductions, extremes, messages. Values: tests/parity."""

import json
import warnings

import numpy as np
import pytest

from kernelearn import losses
from kernelearn.engine.reference.losses import LOSSES as ENGINE_LOSSES
from kernelearn.errors import ArgumentError, ShapeError, UnknownNameError

RNG = np.random.default_rng(3)
N, K = 6, 5
REAL, PREDICTED, POSITIVE = RNG.normal(size=(N, K)), RNG.normal(size=(N, K)) * 2, RNG.uniform(0.1, 3, (N, K))
BITS, PROBABILITIES = (RNG.uniform(size=(N, K)) > 0.5) * 1.0, RNG.uniform(0.05, 0.95, (N, K))
LABELS = RNG.integers(0, K, N)
ONE_HOT = np.eye(K)[LABELS]

CASES = [
    ("mean_squared_error", {}, REAL, PREDICTED),
    ("mean_absolute_error", {}, REAL, PREDICTED),
    ("mean_absolute_percentage_error", {}, REAL, PREDICTED),
    ("mean_squared_logarithmic_error", {}, POSITIVE, POSITIVE + 0.3 * REAL),
    ("huber", {}, REAL, PREDICTED),
    ("huber", {"delta": 0.4}, REAL, PREDICTED),
    ("log_cosh", {}, REAL, PREDICTED),
    ("poisson", {}, POSITIVE, PROBABILITIES),
    ("cosine_similarity", {}, REAL, PREDICTED),
    ("hinge", {}, BITS, PREDICTED),
    ("hinge", {}, 2 * BITS - 1, PREDICTED),
    ("squared_hinge", {}, BITS, PREDICTED),
    ("categorical_hinge", {}, ONE_HOT, PREDICTED),
    ("kl_divergence", {}, PROBABILITIES / 3, PROBABILITIES),
    ("binary_crossentropy", {}, BITS, PROBABILITIES),
    ("binary_crossentropy", {"from_logits": True, "label_smoothing": 0.1}, BITS, PREDICTED),
    ("categorical_crossentropy", {}, ONE_HOT, PROBABILITIES),
    ("categorical_crossentropy", {"label_smoothing": 0.1}, ONE_HOT, PROBABILITIES),
    ("categorical_crossentropy", {"from_logits": True}, 2 * PROBABILITIES, PREDICTED),
    ("sparse_categorical_crossentropy", {}, LABELS, PROBABILITIES),
    ("sparse_categorical_crossentropy", {"from_logits": True}, LABELS, PREDICTED),
    ("sparse_categorical_crossentropy", {"from_logits": True, "label_smoothing": 0.2}, LABELS, PREDICTED),
    ("sparse_categorical_crossentropy", {"from_logits": True, "ignore_class": 1}, LABELS, PREDICTED),
    ("sparse_categorical_crossentropy", {"ignore_class": 2}, LABELS, PROBABILITIES),
    ("binary_focal_crossentropy", {}, BITS, PROBABILITIES),
    ("binary_focal_crossentropy", {"from_logits": True, "gamma": 0.0}, BITS, PREDICTED),
    (
        "binary_focal_crossentropy",
        {"apply_class_balancing": True, "label_smoothing": 0.1},
        BITS,
        PROBABILITIES,
    ),
    ("binary_focal_crossentropy", {"from_logits": True, "gamma": 0.5}, BITS, PREDICTED),
    ("categorical_focal_crossentropy", {}, ONE_HOT, PROBABILITIES),
    ("categorical_focal_crossentropy", {"from_logits": True, "label_smoothing": 0.1}, ONE_HOT, PREDICTED),
    (
        "categorical_focal_crossentropy",
        {"alpha": [0.1, 0.2, 0.3, 0.4, 0.5], "gamma": 1.5},
        ONE_HOT,
        PROBABILITIES,
    ),
]
IDS = [f"{kind}-{attrs}" for kind, attrs, _, _ in CASES]
PLAIN = ["mean_squared_error", "mean_absolute_error", "log_cosh", "hinge", "squared_hinge", "huber"]


def numerical_gradient(loss, y_true, y_pred, step=1e-6):
    """Central differences of the sum of a loss's values, entry by entry."""
    gradient = np.zeros_like(y_pred)
    for index in np.ndindex(*y_pred.shape):
        move = np.zeros_like(y_pred)
        move[index] = step
        gradient[index] = np.sum(loss(y_true, y_pred + move) - loss(y_true, y_pred - move)) / (2 * step)
    return gradient


@pytest.mark.parametrize(("kind", "attrs", "y_true", "y_pred"), CASES, ids=IDS)
def test_gradient_is_the_slope(kind, attrs, y_true, y_pred):
    engine = ENGINE_LOSSES[kind]
    slope = numerical_gradient(lambda t, p: engine.value(t, p, **attrs), y_true, y_pred)
    np.testing.assert_allclose(engine.gradient(y_true, y_pred, **attrs), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("kind", "attrs", "y_true", "y_pred"), CASES, ids=IDS)
def test_images_of_samples_give_a_value_per_pixel(kind, attrs, y_true, y_pred):
    engine = ENGINE_LOSSES[kind]
    folded_true = y_true.reshape(2, 3, *y_true.shape[1:])
    folded = y_pred.reshape(2, 3, K)
    value, gradient = (
        engine.value(folded_true, folded, **attrs),
        engine.gradient(folded_true, folded, **attrs),
    )
    np.testing.assert_array_equal(value.ravel(), engine.value(y_true, y_pred, **attrs))
    np.testing.assert_array_equal(gradient.reshape(N, K), engine.gradient(y_true, y_pred, **attrs))


@pytest.mark.parametrize(("kind", "attrs", "y_true", "y_pred"), CASES, ids=IDS)
def test_float32_stays_and_inputs_are_not_changed(kind, attrs, y_true, y_pred):
    engine, single = ENGINE_LOSSES[kind], y_pred.astype("float32")
    before = y_true.copy(), single.copy()
    value, gradient = engine.value(y_true, single, **attrs), engine.gradient(y_true, single, **attrs)
    assert value.dtype == gradient.dtype == np.float32
    np.testing.assert_allclose(value, engine.value(y_true, y_pred, **attrs), rtol=2e-5, atol=1e-5)
    np.testing.assert_array_equal(y_true, before[0])
    np.testing.assert_array_equal(single, before[1])


@pytest.mark.parametrize("kind", [kind for kind in ENGINE_LOSSES if "crossentropy" in kind])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_logits_are_exact_and_silent(kind, dtype):
    y_pred = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], dtype)
    labels = np.array([0, 0])
    y_true = labels if ENGINE_LOSSES[kind].integer_labels else np.eye(3)[labels]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = ENGINE_LOSSES[kind].value(y_true, y_pred, from_logits=True)
        gradient = ENGINE_LOSSES[kind].gradient(y_true, y_pred, from_logits=True)
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
    assert value[1] > 1e3 and gradient[1, 0] < 0  # the wrong answer is punished and can be unlearned


@pytest.mark.parametrize("kind", ["binary_focal_crossentropy", "categorical_focal_crossentropy"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_losses_of_certain_answers_have_no_gradient(kind, gamma):
    logits = np.array([[200.0, -200.0, -200.0]])
    gradient = ENGINE_LOSSES[kind].gradient(np.eye(3)[:1], logits, gamma=gamma, from_logits=True)
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in ENGINE_LOSSES if "crossentropy" in kind])
def test_logits_and_probabilities_agree(kind):
    y_true = LABELS if ENGINE_LOSSES[kind].integer_labels else ONE_HOT
    if kind.startswith("binary"):
        p = 1 / (1 + np.exp(-PREDICTED))
    else:
        p = np.exp(PREDICTED) / np.exp(PREDICTED).sum(-1, keepdims=True)
    from_logits = ENGINE_LOSSES[kind].value(y_true, PREDICTED, from_logits=True)
    np.testing.assert_allclose(from_logits, ENGINE_LOSSES[kind].value(y_true, p), rtol=1e-10)


def test_saturated_probabilities_have_a_finite_loss():
    value = losses.binary_crossentropy([[1.0, 0.0]], [[0.0, 1.0]])
    np.testing.assert_allclose(value, -np.log(1e-7), rtol=0.01)


@pytest.mark.parametrize("kind", PLAIN)
def test_target_without_a_last_axis_of_one_is_expanded(kind):
    y_true, y_pred = RNG.normal(size=4), RNG.normal(size=(4, 1))
    np.testing.assert_array_equal(
        ENGINE_LOSSES[kind].value(y_true, y_pred), ENGINE_LOSSES[kind].value(y_true[:, None], y_pred)
    )


@pytest.mark.parametrize("kind", [k for k in ENGINE_LOSSES if not ENGINE_LOSSES[k].integer_labels])
def test_shapes_that_would_broadcast_are_refused(kind):
    with pytest.raises(ShapeError, match=r"\(4,\) and \(4, 4\)"):
        ENGINE_LOSSES[kind].value(np.ones(4), np.ones((4, 4)))


def test_labels_are_checked():
    loss = losses.SparseCategoricalCrossentropy()
    with pytest.raises(
        ArgumentError, match="from 0 to 4 for predictions of 5 classes, got labels from 0 to 5"
    ):
        loss(np.array([0, 5]), np.ones((2, 5)))
    with pytest.raises(ShapeError, match="One-hot targets belong to"):
        loss(np.eye(5), np.ones((5, 5)))
    assert loss([[0], [1]], np.full((2, 5), 0.2)) == pytest.approx(np.log(5), rel=1e-6)


def test_reductions_by_hand():
    y_true, y_pred, weight = np.zeros((4, 1)), np.array([[1.0], [2.0], [3.0], [4.0]]), [1.0, 0.0, 2.0, 1.0]
    results = {
        reduction: losses.MeanSquaredError(reduction=reduction)(y_true, y_pred, weight)
        for reduction in ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight")
    }
    weighted = 1 + 0 + 18 + 16
    expected = {"sum_over_batch_size": weighted / 4, "mean": weighted / 4, "sum": weighted}
    assert results == pytest.approx({**expected, "mean_with_sample_weight": weighted / 4})
    assert losses.MeanSquaredError("mean_with_sample_weight")(y_true, y_pred, [1, 1, 0, 0]) == 2.5
    np.testing.assert_array_equal(losses.MeanSquaredError(None)(y_true, y_pred, weight), [1, 0, 18, 16])


def test_weights_of_samples_reach_every_pixel():
    y_true, y_pred = np.zeros((2, 3, 1)), np.ones((2, 3, 1))
    assert losses.MeanSquaredError()(y_true, y_pred, [2.0, 0.0]) == 1.0
    with pytest.raises(ShapeError, match=r"sample_weight must have shape \(2,\)"):
        losses.MeanSquaredError()(y_true, y_pred, [1.0, 1.0, 1.0])


def test_ignored_class_does_not_count_in_the_mean():
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    kept = LABELS.copy()
    kept[:4] = -1
    assert loss(kept, PREDICTED) == pytest.approx(
        losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS[4:], PREDICTED[4:])
    )
    assert loss(np.full(N, -1), PREDICTED) == 0.0


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_factors_give_the_gradient_of_the_reduced_loss(reduction):
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1, reduction=reduction)
    weight = np.linspace(0.5, 2, N)
    values = loss.call(LABELS, PREDICTED)
    factors = losses.sample_factors(values.shape, float, weight, loss.mask(LABELS, PREDICTED), reduction)
    slope = numerical_gradient(lambda t, p: loss(t, p, weight), LABELS, PREDICTED)
    np.testing.assert_allclose(factors[:, None] * loss.gradient(LABELS, PREDICTED), slope, atol=1e-8)


ALIASES = {
    "MeanSquaredError": ["mean_squared_error", "mse", "MSE"],
    "MeanAbsoluteError": ["mean_absolute_error", "mae", "MAE"],
    "MeanAbsolutePercentageError": ["mean_absolute_percentage_error", "mape", "MAPE"],
    "MeanSquaredLogarithmicError": ["mean_squared_logarithmic_error", "msle", "MSLE"],
    "BinaryCrossentropy": ["binary_crossentropy", "bce", "BCE"],
    "KLDivergence": ["kl_divergence", "kld", "KLD"],
    "CategoricalCrossentropy": ["categorical_crossentropy"],
    "SparseCategoricalCrossentropy": ["sparse_categorical_crossentropy"],
    "BinaryFocalCrossentropy": ["binary_focal_crossentropy"],
    "CategoricalFocalCrossentropy": ["categorical_focal_crossentropy"],
    "Huber": ["huber"],
    "LogCosh": ["log_cosh", "logcosh"],
    "Hinge": ["hinge"],
    "SquaredHinge": ["squared_hinge"],
    "CategoricalHinge": ["categorical_hinge"],
    "CosineSimilarity": ["cosine_similarity"],
    "Poisson": ["poisson"],
}


@pytest.mark.parametrize("class_name", ALIASES)
def test_names_classes_functions_and_configs(class_name):
    cls = getattr(losses, class_name)
    for name in [class_name, *ALIASES[class_name]]:
        assert type(losses.get(name)) is cls
    loss = losses.get(cls)
    assert type(losses.get(getattr(losses, loss.kind))) is cls
    again = losses.deserialize(json.loads(json.dumps(losses.serialize(loss))))
    assert type(again) is cls and again.get_config() == loss.get_config()
    assert json.loads(json.dumps(loss.attrs())) == loss.attrs()


def test_every_kind_of_the_engine_has_a_class():
    assert {losses.get(name).kind for name in ALIASES} == set(ENGINE_LOSSES)


def test_own_loss():
    class Quartic(losses.Loss):
        def call(self, y_true, y_pred):
            return np.mean((y_true - y_pred) ** 4, axis=-1)

    loss = losses.get(Quartic())
    assert (loss.kind, loss.name) == ("custom", "Quartic")
    assert loss([[0.0, 0.0]], [[1.0, 2.0]]) == 8.5
    with pytest.raises(NotImplementedError, match="gradient"):
        loss.gradient(np.zeros((1, 1)), np.zeros((1, 1)))
    with pytest.raises(ArgumentError, match="not registered"):
        losses.serialize(loss)


@pytest.mark.parametrize(
    "make",
    [
        lambda: losses.MeanSquaredError(reduction="average"),
        lambda: losses.Huber(delta=0),
        lambda: losses.BinaryCrossentropy(label_smoothing=1.5),
        lambda: losses.BinaryFocalCrossentropy(gamma=-1),
        lambda: losses.get(3),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(ArgumentError, match="got"):
        make()


def test_unknown_names_suggest_known_ones():
    with pytest.raises(UnknownNameError, match="categorical_crossentropy"):
        losses.get("categorical_cross_entropy")
