"""Weights of samples in metrics, the metrics of plain values, and thresholds as Keras gives them."""

import numpy as np
import pytest

from kernelearn import constraints, metrics, optimizers, regularizers
from kernelearn.errors import ShapeError

TRUE, SCORES = np.array([1.0, 3.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0, 8.0])
WEIGHTS = np.array([0.0, 1.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (metrics.RootMeanSquaredError(), np.sqrt(13.0)),
        (metrics.MeanSquaredError(), 13.0),
        (metrics.MeanAbsoluteError(), 3.0),
        (metrics.MeanAbsolutePercentageError(), 100.0),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_weights_count_for_arrays_of_one_axis(metric, expected):
    metric.update_state(TRUE, SCORES, WEIGHTS)
    assert metric.result() == pytest.approx(expected, rel=1e-6)
    metric.reset_state()
    metric.update_state(TRUE[:, None], SCORES[:, None], WEIGHTS)
    assert metric.result() == pytest.approx(expected, rel=1e-6)


ONE_AXIS = [
    metrics.MeanSquaredLogarithmicError,
    metrics.LogCoshError,
    metrics.Hinge,
    metrics.SquaredHinge,
    metrics.Poisson,
    metrics.BinaryCrossentropy,
    metrics.Accuracy,
    metrics.BinaryAccuracy,
    metrics.Precision,
    metrics.Recall,
    metrics.TruePositives,
    metrics.AUC,
]


@pytest.mark.parametrize("make", ONE_AXIS, ids=lambda make: make.__name__)
def test_a_weight_of_zero_leaves_a_sample_out_of_arrays_of_one_axis(make):
    true, scores, weights = np.array([1, 0, 1, 0]), np.array([0.9, 0.2, 0.4, 0.7]), np.array([1, 1, 0, 2])
    weighted, repeated = make(), make()
    weighted.update_state(true, scores, weights)
    repeated.update_state(true[[0, 1, 3, 3]], scores[[0, 1, 3, 3]])
    assert weighted.result() == pytest.approx(repeated.result(), rel=1e-6)


def test_weights_are_refused_where_all_numbers_are_one_sample():
    metric = metrics.CategoricalCrossentropy()
    metric.update_state([0.0, 1.0], [0.5, 0.5])
    with pytest.raises(ShapeError, match="sample_weight"):
        metric.update_state([0.0, 1.0], [0.5, 0.5], [1.0, 2.0])


def test_metrics_of_values_can_be_called():
    assert metrics.Mean()([1.0, 3.0]) == 2.0
    assert metrics.Mean()([1.0, 3.0], sample_weight=[3.0, 1.0]) == 1.5
    total = metrics.Sum()
    assert total([1.0, 3.0], sample_weight=[1.0, 2.0]) == 7.0 and total([1.0]) == 8.0


def test_samples_of_the_ignored_class_do_not_count_in_the_mean():
    scores = np.array([[0.05, 0.95, 0.0], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])
    metric = metrics.SparseCategoricalCrossentropy(ignore_class=0)
    assert metric([0, 1, 2], scores) == pytest.approx(-(np.log(0.8) + np.log(0.7)) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("metric", "shape"),
    [
        (metrics.Precision(class_id=2), (4,)),
        (metrics.Recall(class_id=2), (4,)),
        (metrics.Recall(class_id=2), (4, 2)),
        (metrics.R2Score(), (4,)),
        (metrics.F1Score(), (4,)),
    ],
)
def test_arrays_without_an_axis_of_outputs_are_refused(metric, shape):
    with pytest.raises(ShapeError, match="takes predictions"):
        metric.update_state(np.zeros(shape), np.zeros(shape))


def test_thresholds_of_an_area_include_the_ends():
    one = metrics.AUC(thresholds=[0.5])
    assert one.num_thresholds == 3 and one.thresholds == pytest.approx([0.0, 0.5, 1.0], abs=1e-6)
    two = metrics.AUC(num_thresholds=None, thresholds=[0.5, 0.3])
    assert two.num_thresholds == 4 and two.thresholds[1:-1] == [0.3, 0.5]
    even = metrics.AUC(num_thresholds=4)
    assert even.thresholds[1:-1] == pytest.approx([1 / 3, 2 / 3])
    for metric in (one, two, even):
        again = metrics.deserialize(metrics.serialize(metric))
        assert again.thresholds == metric.thresholds and again.num_thresholds == metric.num_thresholds


def test_the_plain_constraint_gives_weights_back():
    np.testing.assert_array_equal(constraints.Constraint()(np.array([-1.0, 2.0])), [-1.0, 2.0])


def test_a_learning_rate_may_be_a_function_of_the_step_or_of_nothing():
    assert optimizers.SGD(lambda: 0.25).learning_rate == 0.25
    by_step = optimizers.SGD(lambda step: 1.0 / (1 + step))
    by_step.iterations = 3
    assert by_step.learning_rate == 0.25
    assert regularizers.get({"class_name": "l2", "config": {"l2": 0.5}}).l2 == 0.5
