"""scikit-learn's own contract for estimators."""

import pytest

pytest.importorskip("sklearn")
from sklearn.utils.estimator_checks import check_methods_sample_order_invariance, parametrize_with_checks

from kernelearn import CNNClassifier, CNNRegressor
from kernelearn.utils import floatx, set_floatx

# Every check that is expected to fail, with the reason.
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "training goes by mini-batches: a row that is repeated fills other batches than one with weight 2, "
        "and features and targets are standardised without weights"
    ),
}


@parametrize_with_checks(
    [CNNClassifier(), CNNRegressor()], expected_failed_checks=lambda estimator: EXPECTED_FAILURES
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", [CNNClassifier(), CNNRegressor()], ids=lambda e: type(e).__name__)
def test_order_of_rows_does_not_matter_in_float64(estimator):
    before = floatx()
    set_floatx("float64")
    try:
        check_methods_sample_order_invariance(type(estimator).__name__, estimator)
    finally:
        set_floatx(before)
