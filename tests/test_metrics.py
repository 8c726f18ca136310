"""Metrics: values against scikit-learn and by hand, batches, weights, states, names. Keras: tests/parity."""

import json
import pickle

import numpy as np
import pytest
from sklearn import metrics as sk

from kernelearn import losses, metrics
from kernelearn.errors import ArgumentError, ShapeError, UnknownNameError

RNG = np.random.default_rng(5)
N, K = 60, 5
SCORES = RNG.uniform(0.01, 0.99, (N, K))
LABELS = np.where(RNG.uniform(size=N) < 0.6, SCORES.argmax(-1), RNG.integers(0, K, N))
ONE_HOT = np.eye(K)[LABELS]
BITS = (RNG.uniform(size=(N, 1)) > 0.4) * 1.0
PROBABILITY = np.clip(0.3 * BITS + RNG.uniform(0, 0.7, (N, 1)), 0, 1)
REAL, GUESS = RNG.normal(size=(N, 2)), RNG.normal(size=(N, 2))
WEIGHTS = RNG.uniform(0, 2, N)

EXAMPLES = [
    (metrics.Accuracy(), LABELS, SCORES.argmax(-1)),
    (metrics.BinaryAccuracy(threshold=0.4), BITS, PROBABILITY),
    (metrics.CategoricalAccuracy(), ONE_HOT, SCORES),
    (metrics.SparseCategoricalAccuracy(), LABELS, SCORES),
    (metrics.TopKCategoricalAccuracy(k=2), ONE_HOT, SCORES),
    (metrics.SparseTopKCategoricalAccuracy(k=3), LABELS, SCORES),
    (metrics.AUC(), BITS, PROBABILITY),
    (metrics.AUC(curve="PR", thresholds=[0.3, 0.6]), BITS, PROBABILITY),
    (metrics.AUC(curve="PRGAIN", multi_label=True, name="gain"), ONE_HOT, SCORES),
    (metrics.PrecisionAtRecall(0.3), BITS, PROBABILITY),
    (metrics.MeanIoU(K, sparse_y_pred=False), LABELS, SCORES),
    (metrics.BinaryIoU(), BITS, PROBABILITY),
    (metrics.PearsonCorrelation(), ONE_HOT, SCORES),
    (metrics.ConcordanceCorrelation(), ONE_HOT, SCORES),
    (metrics.Precision(), BITS, PROBABILITY),
    (metrics.Precision(top_k=2, class_id=1), ONE_HOT, SCORES),
    (metrics.Recall(thresholds=[0.7, 0.2]), BITS, PROBABILITY),
    (metrics.TruePositives(), BITS, PROBABILITY),
    (metrics.FalsePositives(), BITS, PROBABILITY),
    (metrics.TrueNegatives(), BITS, PROBABILITY),
    (metrics.FalseNegatives(), BITS, PROBABILITY),
    (metrics.F1Score(), ONE_HOT, SCORES),
    (metrics.FBetaScore("weighted", beta=2.0, threshold=0.5), ONE_HOT, SCORES),
    (metrics.ConfusionMatrix(K), LABELS, SCORES),
    (metrics.MeanSquaredError(), REAL, GUESS),
    (metrics.RootMeanSquaredError(), REAL, GUESS),
    (metrics.CosineSimilarity(), REAL, GUESS),
    (metrics.R2Score(), REAL, GUESS),
    (metrics.BinaryCrossentropy(label_smoothing=0.1), BITS, PROBABILITY),
    (metrics.SparseCategoricalCrossentropy(from_logits=True), LABELS, SCORES),
    (metrics.LossMetric(losses.Huber(delta=0.5)), REAL, GUESS),
]
by_name = pytest.mark.parametrize(("metric", "y_true", "y_pred"), EXAMPLES, ids=[e[0].name for e in EXAMPLES])


def fresh(metric):
    return metrics.deserialize(metrics.serialize(metric))


@by_name
def test_batches_add_up_to_the_whole(metric, y_true, y_pred):
    whole, parts = fresh(metric), fresh(metric)
    expected = whole(y_true, y_pred, WEIGHTS)
    for start, stop in ((0, 7), (7, 8), (8, N)):
        parts.update_state(y_true[start:stop], y_pred[start:stop], WEIGHTS[start:stop])
    np.testing.assert_allclose(parts.result(), expected, rtol=1e-12)


@by_name
def test_weight_two_is_twice_the_sample_and_weight_zero_is_none(metric, y_true, y_pred):
    weight = RNG.integers(0, 3, N)
    repeated = np.repeat(np.arange(N), weight)
    expected = fresh(metric)(y_true[repeated], y_pred[repeated])
    np.testing.assert_allclose(fresh(metric)(y_true, y_pred, weight), expected, rtol=1e-12)


@by_name
def test_state_restores_bitwise(metric, y_true, y_pred):
    through, stopped, resumed = fresh(metric), fresh(metric), fresh(metric)
    for m in (through, stopped):
        m.update_state(y_true[:25], y_pred[:25])
    resumed.set_state(pickle.loads(pickle.dumps(stopped.get_state())))
    for m in (through, resumed):
        m.update_state(y_true[25:], y_pred[25:])
    np.testing.assert_array_equal(resumed.result(), through.result())
    assert all(isinstance(value, np.ndarray) for value in resumed.get_state().values())
    with pytest.raises(ArgumentError, match="state of"):
        resumed.set_state({"something": 1})


@by_name
def test_reset_forgets(metric, y_true, y_pred):
    m = fresh(metric)
    first = m(y_true, y_pred)
    kept = m.get_state()
    m.reset_state()
    np.testing.assert_array_equal(m(y_true, y_pred), first)
    for name, value in m.get_state().items():
        np.testing.assert_array_equal(kept[name], value)


@by_name
def test_config_round_trip_through_json(metric, y_true, y_pred):
    again = metrics.deserialize(json.loads(json.dumps(metrics.serialize(metric))))
    assert again.name == metric.name and repr(again) == repr(metric)
    np.testing.assert_array_equal(again(y_true, y_pred), fresh(metric)(y_true, y_pred))


def test_state_of_other_thresholds_is_refused():
    with pytest.raises(ArgumentError, match="has 2 thresholds, the state has 1"):
        metrics.Precision(thresholds=[0.1, 0.2]).set_state(metrics.Precision().get_state())


def test_empty_metrics_are_zero():
    assert metrics.Mean().result() == metrics.SparseCategoricalAccuracy().result() == 0.0
    assert metrics.Precision().result() == metrics.AUC().result() == 0.0


# --- against scikit-learn


@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_accuracies(weight):
    expected = sk.accuracy_score(LABELS, SCORES.argmax(-1), sample_weight=weight)
    assert metrics.SparseCategoricalAccuracy()(LABELS, SCORES, weight) == pytest.approx(expected)
    assert metrics.SparseCategoricalAccuracy()(LABELS[:, None], SCORES, weight) == pytest.approx(expected)
    assert metrics.CategoricalAccuracy()(ONE_HOT, SCORES, weight) == pytest.approx(expected)
    binary = sk.accuracy_score(BITS, PROBABILITY > 0.5, sample_weight=weight)
    assert metrics.BinaryAccuracy()(BITS, PROBABILITY, weight) == pytest.approx(binary)
    assert metrics.BinaryAccuracy()(BITS[:, 0], PROBABILITY, weight) == pytest.approx(binary)


@pytest.mark.parametrize("k", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_top_k(k, weight):
    expected = (
        sk.top_k_accuracy_score(LABELS, SCORES, k=min(k, K - 1), sample_weight=weight) if k < K else 1.0
    )
    assert metrics.SparseTopKCategoricalAccuracy(k)(LABELS, SCORES, weight) == pytest.approx(expected)
    assert metrics.TopKCategoricalAccuracy(k)(ONE_HOT, SCORES, weight) == pytest.approx(expected)


@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_decisions(weight):
    decided, options = PROBABILITY > 0.5, {"sample_weight": weight}
    assert metrics.Precision()(BITS, PROBABILITY, weight) == pytest.approx(
        sk.precision_score(BITS, decided, **options)
    )
    assert metrics.Recall()(BITS, PROBABILITY, weight) == pytest.approx(
        sk.recall_score(BITS, decided, **options)
    )
    table = sk.confusion_matrix(BITS.ravel(), decided.ravel(), **options)
    classes = (metrics.TrueNegatives, metrics.FalsePositives, metrics.FalseNegatives, metrics.TruePositives)
    np.testing.assert_allclose([cls()(BITS, PROBABILITY, weight) for cls in classes], table.ravel())


def test_thresholds_keep_the_order_given():
    high, low = metrics.Recall(thresholds=[0.7, 0.2])(BITS, PROBABILITY)
    assert high == pytest.approx(sk.recall_score(BITS, PROBABILITY > 0.7))
    assert low == pytest.approx(sk.recall_score(BITS, PROBABILITY > 0.2))


def test_top_k_and_class_id_of_precision():
    best = np.zeros_like(SCORES)
    np.put_along_axis(best, np.argsort(-SCORES)[:, :2], 1, -1)
    expected = sk.precision_score(ONE_HOT[:, 1], best[:, 1])
    assert metrics.Precision(top_k=2, class_id=1)(ONE_HOT, SCORES) == pytest.approx(expected)
    assert metrics.Precision(top_k=2, class_id=1)(LABELS, SCORES) == pytest.approx(expected)


@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_auc_is_close_to_the_exact_area(weight):
    exact = sk.roc_auc_score(BITS, PROBABILITY, sample_weight=weight)
    assert metrics.AUC(num_thresholds=20001)(BITS, PROBABILITY, weight) == pytest.approx(exact, abs=1e-3)
    precision = sk.average_precision_score(BITS, PROBABILITY, sample_weight=weight)
    assert metrics.AUC(curve="PR")(BITS, PROBABILITY, weight) == pytest.approx(precision, abs=0.03)
    logits = np.log(PROBABILITY + 1e-9) - np.log1p(1e-9 - PROBABILITY)
    from_logits = metrics.AUC(from_logits=True)(BITS, logits, weight)
    assert from_logits == pytest.approx(metrics.AUC()(BITS, PROBABILITY, weight), abs=1e-6)


def test_auc_bounds_enclose_the_interpolation():
    low, middle, high = (
        metrics.AUC(summation_method=method)(BITS, PROBABILITY)
        for method in ("minoring", "interpolation", "majoring")
    )
    assert low <= middle <= high


@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_f_scores(average, beta):
    expected = sk.fbeta_score(LABELS, SCORES.argmax(-1), beta=beta, average=average)
    np.testing.assert_allclose(metrics.FBetaScore(average, beta)(LABELS, SCORES), expected, rtol=1e-6)
    if beta == 1.0:
        np.testing.assert_allclose(metrics.F1Score(average)(ONE_HOT, SCORES), expected, rtol=1e-6)


@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_confusion_matrix(weight):
    expected = sk.confusion_matrix(LABELS, SCORES.argmax(-1), sample_weight=weight)
    for y_true, y_pred in ((LABELS, SCORES), (ONE_HOT, SCORES), (LABELS[:, None], SCORES.argmax(-1))):
        np.testing.assert_allclose(metrics.ConfusionMatrix(K)(y_true, y_pred, weight), expected)
    binary = sk.confusion_matrix(BITS.ravel(), PROBABILITY.ravel() > 0.5)
    np.testing.assert_array_equal(metrics.ConfusionMatrix(2)(BITS, PROBABILITY), binary)
    with pytest.raises(ArgumentError, match="classes from 0 to 2, got 0 to 4"):
        metrics.ConfusionMatrix(3)(LABELS, SCORES.argmax(-1))


@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_regression(weight):
    options = {"sample_weight": weight}
    pairs = [
        (metrics.MeanSquaredError(), sk.mean_squared_error),
        (metrics.RootMeanSquaredError(), lambda t, p, **o: sk.mean_squared_error(t, p, **o) ** 0.5),
        (metrics.MeanAbsoluteError(), sk.mean_absolute_error),
        (
            metrics.MeanAbsolutePercentageError(),
            lambda *a, **o: 100 * sk.mean_absolute_percentage_error(*a, **o),
        ),
        (metrics.R2Score(), sk.r2_score),
    ]
    for metric, function in pairs:
        assert metric(REAL, GUESS, weight) == pytest.approx(function(REAL, GUESS, **options))
    each = sk.r2_score(REAL, GUESS, multioutput="raw_values", **options)
    np.testing.assert_allclose(metrics.R2Score(class_aggregation=None)(REAL, GUESS, weight), each)


def test_r2_far_from_zero_is_accurate():
    shifted = metrics.R2Score()(REAL + 1e8, GUESS + 1e8)
    assert shifted == pytest.approx(sk.r2_score(REAL, GUESS), rel=1e-6)


# --- details


def test_means_of_images():
    values = np.arange(24.0).reshape(2, 3, 4)
    mean = metrics.Mean()
    mean.update_state(values, [1.0, 3.0])
    assert mean.result() == pytest.approx((values[0].mean() + 3 * values[1].mean()) / 4)
    mean.reset_state()
    mean.update_state(values, np.ones((2, 3)))
    mean.update_state(5.0)
    assert mean.result() == pytest.approx((2 * values.mean() + 5) / 3)
    total = metrics.Sum()
    total.update_state([1.0, 2.0], [1.0, 0.5])
    assert total.result() == 2.0
    with pytest.raises(ShapeError, match="sample_weight"):
        mean.update_state(values, [1.0, 2.0, 3.0])


def test_pixels_count_within_their_image():
    y_true, y_pred = RNG.integers(0, K, (4, 3)), RNG.uniform(size=(4, 3, K))
    hits = (y_true == y_pred.argmax(-1)).mean(-1)
    assert metrics.SparseCategoricalAccuracy()(y_true, y_pred) == pytest.approx(hits.mean())
    weight = [0.0, 1.0, 2.0, 3.0]
    assert metrics.SparseCategoricalAccuracy()(y_true, y_pred, weight) == pytest.approx(
        np.average(hits, weights=weight)
    )


def test_ignored_class_does_not_count():
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
    kept = LABELS != 2
    expected = losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS[kept], SCORES[kept])
    assert metrics.get(loss)(LABELS, SCORES) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("identifier", "loss", "output", "target", "expected"),
    [
        ("accuracy", "binary_crossentropy", (None, 1), None, metrics.BinaryAccuracy),
        ("acc", "mse", (None, 1), (None,), metrics.BinaryAccuracy),
        ("accuracy", "sparse_categorical_crossentropy", (None, 10), None, metrics.SparseCategoricalAccuracy),
        ("accuracy", None, (None, 10), (None,), metrics.SparseCategoricalAccuracy),
        ("accuracy", None, (None, 10), (None, 1), metrics.SparseCategoricalAccuracy),
        ("Accuracy", "categorical_crossentropy", (None, 10), None, metrics.CategoricalAccuracy),
        ("accuracy", "binary_crossentropy", (None, 10), (None, 10), metrics.CategoricalAccuracy),
        ("accuracy", "sparse_categorical_crossentropy", None, None, metrics.SparseCategoricalAccuracy),
        ("accuracy", "binary_crossentropy", None, None, metrics.BinaryAccuracy),
        ("ce", "categorical_crossentropy", (None, 3), None, metrics.CategoricalCrossentropy),
        ("crossentropy", "bce", (None, 1), None, metrics.BinaryCrossentropy),
        ("mse", None, (None, 3), None, metrics.MeanSquaredError),
    ],
)
def test_resolve(identifier, loss, output, target, expected):
    metric = metrics.resolve(identifier, loss, output, target)
    assert type(metric) is expected
    assert metric.name == identifier


def test_resolve_knows_logits():
    loss = losses.BinaryCrossentropy(from_logits=True)
    assert metrics.resolve("accuracy", loss, (None, 1)).threshold == 0.0
    assert metrics.resolve("ce", loss, (None, 1)).from_logits
    with pytest.raises(ArgumentError, match="None"):
        metrics.resolve(None)


@pytest.mark.parametrize("name", losses.LOSSES.names())
def test_every_loss_is_a_metric(name):
    metric = metrics.get(name)
    assert isinstance(metric, metrics.LossMetric)
    assert metric.loss.kind == losses.get(name).kind


@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("mse", "MeanSquaredError"), ("MAE", "MeanAbsoluteError"), ("AUC", "AUC"),
        ("auc", "AUC"), ("precision", "Precision"), ("f1_score", "F1Score"), ("Recall", "Recall"),
        ("top_k_categorical_accuracy", "TopKCategoricalAccuracy"), ("r2_score", "R2Score"),
        ("sparse_categorical_accuracy", "SparseCategoricalAccuracy"), ("Accuracy", "Accuracy"),
    ],
)  # fmt: skip
def test_names_of_keras(name, class_name):
    assert type(metrics.get(name)).__name__ == class_name


def test_configs_of_keras():
    plain = {"name": "auc", "dtype": "float32", "curve": "PR", "multi_label": False, "num_labels": None}
    assert metrics.deserialize({"class_name": "AUC", "config": plain}).curve == "PR"
    assert metrics.AUC.from_config({**plain, "multi_label": True, "num_labels": 3}).num_labels == 3


def test_functions_and_own_metrics():
    def largest_error(y_true, y_pred):
        return np.abs(y_true - y_pred).max(-1)

    metric = metrics.get(largest_error)
    assert metric.name == "largest_error"
    assert metric(REAL, GUESS) == pytest.approx(np.abs(REAL - GUESS).max(-1).mean())
    assert metrics.get(None) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: metrics.AUC(curve="DET"),
        lambda: metrics.AUC(num_thresholds=1),
        lambda: metrics.AUC(summation_method="sum"),
        lambda: metrics.AUC()([0, 1], [-3.0, 2.0]),
        lambda: metrics.Precision(thresholds=1.5),
        lambda: metrics.F1Score(average="mean"),
        lambda: metrics.FBetaScore(beta=0),
        lambda: metrics.FBetaScore(threshold=2.0),
        lambda: metrics.TopKCategoricalAccuracy(k=0),
        lambda: metrics.ConfusionMatrix(1),
        lambda: metrics.R2Score(class_aggregation="sum"),
        lambda: metrics.R2Score(num_regressors=-1),
        lambda: metrics.get(3),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(ArgumentError, match="got"):
        make()


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.CategoricalAccuracy()(LABELS, SCORES),
        lambda: metrics.SparseCategoricalAccuracy()(ONE_HOT, SCORES),
        lambda: metrics.MeanSquaredError()(REAL[:, 0], GUESS),
        lambda: metrics.F1Score()(BITS[:, 0], PROBABILITY[:, 0]),
        lambda: metrics.ConfusionMatrix(K)(LABELS[:5], SCORES),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(call):
    with pytest.raises(ShapeError, match="got"):
        call()


def test_unknown_names_suggest_known_ones():
    with pytest.raises(UnknownNameError, match="Did you mean 'precision'"):
        metrics.get("precison")
