"""Overlaps, curves and correlations: the numbers of live Keras 3.15 on jax, and what Keras does not have."""

import numpy as np
import pytest

from kernelearn import metrics
from kernelearn.errors import ArgumentError, ShapeError

LABELS = np.array([[0, 1, 2, 2], [1, 1, 0, 255]])
SCORES = np.array(
    [
        [[0.09, 0.24, 0.8], [0.58, 0.09, 0.43], [0.48, 0.16, 0.73], [0.11, 0.39, 0.52]],
        [[0.43, 0.59, 0.74], [0.96, 0.28, 0.65], [0.7, 0.29, 0.0], [0.97, 0.3, 0.31]],
    ]
)
ONE_HOT = np.eye(3)[np.where(LABELS == 255, 0, LABELS)]
CLASSES, PIXELS = SCORES.argmax(-1), np.arange(1, 9).reshape(2, 4)
BITS = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1], [1, 0, 0]])
P = np.array(
    [[0.89, 0.59, 0.47], [0.77, 0.03, 0.71], [0.37, 0.09, 0.66], [0.93, 0.21, 0.63], [0.3, 0.74, 0.72]]
)
W = np.array([1.0, 3.0, 0.0, 2.0, 5.0])
LABEL_WEIGHTS = [1.0, 2.0, 0.5]
REAL = np.array(
    [
        [-0.96, -1.67, 0.28, 0.7, -0.44],
        [-1.08, 0.03, -0.05, 1.41, 0.75],
        [0.19, 1.11, -0.21, -0.93, 0.58],
        [0.58, -0.21, -0.78, 0.23, -2.49],
    ]
)
GUESS = np.array(
    [
        [0.21, -0.34, -1.5, 0.41, -1.18],
        [0.22, -2.02, -0.94, 1.41, 1.53],
        [-2.06, 0.06, 0.22, -1.07, 1.88],
        [-0.9, 0.25, -1.44, 1.52, -1.27],
    ]
)

KERAS = [
    ("MeanIoU", {"num_classes": 3, "ignore_class": 0}, LABELS, CLASSES, None, 0.222222),
    ("MeanIoU", {"num_classes": 3, "sparse_y_pred": False}, LABELS, SCORES, None, 0.25),
    ("IoU", {"num_classes": 3, "target_class_ids": [0, 2]}, LABELS, CLASSES, PIXELS, 0.487981),
    ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.3}, BITS, P, None, 0.428571),
    (
        "OneHotIoU",
        {"num_classes": 3, "target_class_ids": [1, 2], "ignore_class": 1},
        ONE_HOT,
        SCORES,
        None,
        0.666667,
    ),
    ("OneHotMeanIoU", {"num_classes": 3}, ONE_HOT, SCORES, None, 0.3),
    ("SensitivityAtSpecificity", {"specificity": 0.6, "num_thresholds": 7}, BITS, P, W, 0.066667),
    ("SpecificityAtSensitivity", {"sensitivity": 0.4}, BITS, P, None, 0.142857),
    ("PrecisionAtRecall", {"recall": 0.2, "num_thresholds": 1}, BITS, P, W, 0.272727),
    ("PrecisionAtRecall", {"recall": 0.3, "class_id": 2}, BITS, P, None, 0.6),
    ("RecallAtPrecision", {"precision": 0.4}, BITS, P, W, 1.0),
    ("AUC", {"multi_label": True}, BITS, P, W, 0.033333),
    (
        "AUC",
        {"multi_label": True, "num_labels": 3, "curve": "PR", "label_weights": LABEL_WEIGHTS},
        BITS,
        P,
        None,
        0.317178,
    ),
    (
        "AUC",
        {"label_weights": LABEL_WEIGHTS, "curve": "PR", "summation_method": "minoring"},
        BITS,
        P,
        W,
        0.186318,
    ),
    ("AUC", {"curve": "PRGAIN"}, BITS, P, None, -0.312472),
    (
        "AUC",
        {
            "multi_label": True,
            "curve": "prgain",
            "thresholds": [0.2, 0.5, 0.7],
            "summation_method": "Majoring",
        },
        BITS,
        P,
        W,
        0.282667,
    ),
    ("PearsonCorrelation", {}, REAL, GUESS, None, 0.333993),
    ("ConcordanceCorrelation", {}, REAL, GUESS, np.array([1.0, 2.0, 0.0, 3.0]), 0.386429),
]


@pytest.mark.parametrize(("name", "arguments", "y_true", "y_pred", "weights", "expected"), KERAS)
def test_batches_give_the_numbers_of_keras(name, arguments, y_true, y_pred, weights, expected):
    metric = metrics.deserialize(metrics.serialize(getattr(metrics, name)(**arguments)))
    for rows in (slice(0, 1), slice(1, None)):
        metric.update_state(y_true[rows], y_pred[rows], None if weights is None else weights[rows])
    assert metric.result() == pytest.approx(expected, abs=2e-6)
    again = metrics.deserialize(metrics.serialize(metric))
    again.set_state(metric.get_state())
    assert again.result() == metric.result() and repr(again) == repr(metric)


def test_classes_may_be_on_any_axis():
    by_last = metrics.OneHotMeanIoU(3)(ONE_HOT, SCORES)
    assert metrics.OneHotMeanIoU(3, axis=1)(ONE_HOT.swapaxes(1, 2), SCORES.swapaxes(1, 2)) == by_last
    assert metrics.PearsonCorrelation(axis=0)(REAL, GUESS) == pytest.approx(0.17546, abs=2e-6)
    assert metrics.PearsonCorrelation()(REAL.T, GUESS.T) == pytest.approx(0.17546, abs=2e-6)


def test_fractions_of_weights_count_in_overlaps():
    metric = metrics.MeanIoU(2)
    assert metric([0, 0, 1, 1], [0, 1, 0, 1], [0.3, 0.3, 0.3, 0.1]) == pytest.approx(0.238095, abs=2e-6)


def test_a_class_that_nobody_has_does_not_count():
    assert metrics.MeanIoU(5)([0, 1], [0, 1]) == pytest.approx(1.0)
    assert metrics.MeanIoU(5).result() == 0.0


@pytest.mark.parametrize("weight", [0.5, [0.5], [[0.5]], [[0.5], [0.5], [0.5], [0.5], [0.5]]])
def test_one_weight_counts_for_all(weight):
    expected = metrics.TruePositives()(BITS, P) / 2
    assert metrics.TruePositives()(BITS, P, weight) == pytest.approx(expected)
    assert metrics.MeanSquaredError()(BITS, P, weight) == pytest.approx(metrics.MeanSquaredError()(BITS, P))


def test_weights_of_labels_broadcast_over_the_samples():
    by_column = metrics.TruePositives()(BITS, P, [LABEL_WEIGHTS])
    assert by_column == metrics.TruePositives()(BITS, P, np.tile(LABEL_WEIGHTS, (5, 1)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: metrics.IoU(2, [2]),
        lambda: metrics.MeanIoU(0),
        lambda: metrics.SensitivityAtSpecificity(1.5),
        lambda: metrics.PrecisionAtRecall(0.5, num_thresholds=0),
        lambda: metrics.RecallAtPrecision(0.5, class_id=-1),
        lambda: metrics.AUC(num_labels=3),
        lambda: metrics.AUC(multi_label=True, num_labels=0),
    ],
)
def test_arguments_without_a_meaning_are_refused(make):
    with pytest.raises(ArgumentError, match="got"):
        make()


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.MeanIoU(2)([0, 1, 1], [0, 1]),
        lambda: metrics.OneHotMeanIoU(2)(ONE_HOT, SCORES),
        lambda: metrics.AUC(multi_label=True)(BITS[:, 0], P[:, 0]),
        lambda: metrics.AUC(multi_label=True, num_labels=2)(BITS, P),
        lambda: metrics.AUC(label_weights=[1.0])(BITS, P),
        lambda: metrics.RecallAtPrecision(0.5, class_id=3)(BITS, P),
        lambda: metrics.PearsonCorrelation()(REAL, GUESS[:2]),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(call):
    with pytest.raises(ShapeError, match="got"):
        call()
