"""X of scikit-learn as images: their shape, several sizes, and the scale that they are standardised with."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d, validate_data

from kernelearn import config
from kernelearn.data.arrays import check_features
from kernelearn.data.ragged import each, joined
from kernelearn.errors import ShapeError
from kernelearn.layers.core.unknown_sizes import fits


class TakesImages:
    """An estimator whose X are images.

    Attributes:
        image_shape, standardize: parameters of the estimator; see `CNNClassifier`.
        image_shape_, mean_, scale_: what `_images` has found in fitting.
    """

    image_shape: Sequence[int] | None
    standardize: bool
    image_shape_: tuple[Any, Any, int]

    def _images(self, X: Any, y: Any = None, fitting: bool = False) -> tuple[Any, Any]:
        """(images (n, h, w, c), y), checked; in fitting, `image_shape_` and the scale are set."""
        if _has_several_sizes(X) or (not fitting and None in self.image_shape_):
            return self._images_of_several_sizes(X, y, fitting)
        X, y = self._validated(X, y, fitting)
        shape = self._shape_of_images(X) if fitting else self.image_shape_
        if X.ndim == 2:
            X = X.reshape(-1, *shape)
        elif X.ndim == 3:
            X = X[..., None]
        if X.shape[1:] != tuple(shape):
            raise ShapeError(
                f"X holds images of shape {X.shape[1:]}, the network was fitted to {tuple(shape)}."
            )
        if fitting:
            self.image_shape_ = shape
            self._set_scale(X)
        return ((X - self.mean_) / self.scale_).astype(config.floatx()), y

    def _images_of_several_sizes(self, X: Any, y: Any, fitting: bool) -> tuple[Any, Any]:
        """As `_images`, for arrays (h, w, c) or (h, w), one for each image."""
        items = [np.asarray(image, np.float64) for image in X]
        items = [image[..., None] if image.ndim == 2 else image for image in items]
        images = joined([check_features(image[None], f"X[{i}]")[0] for i, image in enumerate(items)], "X")
        shape = (None, None, images.shape[-1]) if fitting else self.image_shape_
        if images.ndim != 4 or not fits(images.shape[1:], shape):
            raise ShapeError(
                f"X holds images of shape {images.shape[1:]}, the network was fitted to {tuple(shape)}."
            )
        if fitting:
            self.image_shape_ = shape
            self._set_scale_of_channels(images)
            check_consistent_length(X, y)
            many = self._takes_many_targets()
            y = check_array(y, ensure_2d=False, dtype=np.float64) if many else column_or_1d(y, warn=True)
        return each(lambda image: ((image - self.mean_) / self.scale_).astype(config.floatx()), images), y

    def _set_scale_of_channels(self, images: Any) -> None:
        """Mean and spread of each channel over the pixels of all images."""
        channels = images.shape[-1]
        self.mean_, self.scale_ = np.zeros(channels), np.ones(channels)
        if self.standardize:
            pixels = np.concatenate([image.reshape(-1, channels) for image in images])
            spread = pixels.std(axis=0)
            self.mean_, self.scale_ = pixels.mean(axis=0), np.where(spread > 0, spread, 1.0)

    def _validated(self, X: Any, y: Any, fitting: bool) -> tuple[np.ndarray, Any]:
        """X as floats of 2 to 4 axes; y as its kind of estimator takes it."""
        options: dict[str, Any] = {"dtype": [np.float64, np.float32], "allow_nd": True, "reset": fitting}
        if not fitting:
            X = validate_data(self, X, **options)
        else:
            X, y = validate_data(self, X, y, multi_output=self._takes_many_targets(), **options)
        if not 2 <= X.ndim <= 4:
            raise ShapeError(
                f"X must be rows (n, features), grey images (n, h, w) or images (n, h, w, c); got {X.shape}."
            )
        return X, y

    def _takes_many_targets(self) -> bool:
        return False

    def _shape_of_images(self, X: np.ndarray) -> tuple[int, int, int]:
        """(h, w, c) of the images behind X.

        Raises: ShapeError if `image_shape` does not fit.
        """
        own = tuple(X.shape[1:]) if X.ndim == 4 else (*X.shape[1:], 1)
        if self.image_shape is None:
            return own if len(own) == 3 else (1, own[0], 1)
        shape = tuple(int(size) for size in self.image_shape)
        shape = (*shape, 1) if len(shape) == 2 else shape
        fits = prod(shape) == X.shape[1] if X.ndim == 2 else shape == own
        if len(shape) != 3 or not fits:
            raise ShapeError(
                f"image_shape={self.image_shape!r} must be (height, width) or (height, width, channels) of "
                f"the images in X, whose rows have shape {X.shape[1:]}."
            )
        return shape[0], shape[1], shape[2]

    def _set_scale(self, images: np.ndarray) -> None:
        """Mean and spread of each channel; of each feature where X is rows that are no images."""
        is_table = images.shape[1] == 1 and self.image_shape is None
        axes = (0,) if is_table else (0, 1, 2)
        shape = images.shape[1:] if is_table else images.shape[-1:]
        self.mean_, self.scale_ = np.zeros(shape), np.ones(shape)
        if self.standardize:
            values = images.astype(np.float64)
            spread = values.std(axis=axes)
            self.mean_ = values.mean(axis=axes)
            self.scale_ = np.where(spread > 0, spread, 1.0)


def _has_several_sizes(X: Any) -> bool:
    """Whether X holds one array for each image, of different sizes."""
    is_listed = isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object)
    if not is_listed or not all(isinstance(image, np.ndarray) and image.ndim > 1 for image in X):
        return False
    return len({image.shape for image in X}) > 1
