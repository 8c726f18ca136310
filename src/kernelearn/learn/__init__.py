"""`CNNClassifier` and `CNNRegressor`: convolutional networks as scikit-learn estimators.

They work in Pipeline, GridSearchCV and cross_val_score. X are images (n, h, w, c) or (n, h, w), a list of
images of several sizes, or flat rows (n, features) that `image_shape` says how to fold.
"""

# ruff: noqa: E402 - scikit-learn is optional: asking for it comes before importing from it
from kernelearn._optional import require

require("sklearn", "CNNClassifier and CNNRegressor")

from kernelearn.learn.classifier import CNNClassifier
from kernelearn.learn.regressor import CNNRegressor

__all__ = ["CNNClassifier", "CNNRegressor"]
