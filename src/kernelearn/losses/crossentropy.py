"""The cross-entropy losses, plain and focal."""

from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.losses.base import LOSSES, EngineLoss, last_axis


class _CrossEntropy(EngineLoss):
    """What cross-entropies share: logits or probabilities, label smoothing."""

    def _store(self, from_logits: bool, label_smoothing: float, axis: int) -> None:
        if not 0 <= label_smoothing <= 1:
            raise ArgumentError(f"label_smoothing must be between 0 and 1, got {label_smoothing!r}.")
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = last_axis(axis)


@LOSSES.register("binary_crossentropy", "bce", "BCE")
class BinaryCrossentropy(_CrossEntropy):
    """-mean(t log p + (1 - t) log(1 - p)) over the last axis.

    Args:
        from_logits: y_pred are logits, p = sigmoid(y_pred); exact however large they are. Otherwise y_pred
            are probabilities, clipped to [1e-7, 1 - 1e-7], with no gradient beyond.
        label_smoothing: targets moved this share of the way to 1/2.
    """

    kind = "binary_crossentropy"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self._store(from_logits, label_smoothing, axis)


@LOSSES.register("categorical_crossentropy")
class CategoricalCrossentropy(_CrossEntropy):
    """-sum(t log p) over the last axis, for one-hot (or any) target distributions.

    Args:
        from_logits: y_pred are logits, p = softmax(y_pred); exact however large they are. Otherwise y_pred
            are scaled to sum to 1 and clipped to [1e-7, 1 - 1e-7], with no gradient beyond.
        label_smoothing: share of the target mass spread equally over all classes.
    """

    kind = "categorical_crossentropy"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self._store(from_logits, label_smoothing, axis)


@LOSSES.register("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(_CrossEntropy):
    """`CategoricalCrossentropy` for integer labels of shape (n, ...) or (n, ..., 1).

    Args:
        from_logits: as in `CategoricalCrossentropy`.
        ignore_class: label of samples (or pixels) that do not count, also not in the mean.
        label_smoothing: as in `CategoricalCrossentropy`; Keras does not have it here.
    """

    kind = "sparse_categorical_crossentropy"

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction, name)
        self._store(from_logits, label_smoothing, axis)
        self.ignore_class = ignore_class

    def mask(self, y_true, y_pred):
        if self.ignore_class is None:
            return None
        return (np.asarray(y_true) != self.ignore_class).reshape(y_pred.shape[:-1])


@LOSSES.register("binary_focal_crossentropy")
class BinaryFocalCrossentropy(_CrossEntropy):
    """Binary cross-entropy times (1 - p of the target)^gamma: easy samples count less.

    Args:
        apply_class_balancing: also weigh class 1 by `alpha` and class 0 by 1 - alpha.
        from_logits, label_smoothing: as in `BinaryCrossentropy`.
    Source: Lin et al. (2017), https://arxiv.org/abs/1708.02002.
    """

    kind = "binary_focal_crossentropy"

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self._store(from_logits, label_smoothing, axis)
        self.apply_class_balancing = apply_class_balancing
        self.alpha = alpha
        self.gamma = _not_negative(gamma)


@LOSSES.register("categorical_focal_crossentropy")
class CategoricalFocalCrossentropy(_CrossEntropy):
    """Categorical cross-entropy times alpha (1 - p)^gamma: easy samples count less.

    Args:
        alpha: a weight for all classes, or one per class.
        from_logits, label_smoothing: as in `CategoricalCrossentropy`.
    Source: Lin et al. (2017), https://arxiv.org/abs/1708.02002.
    """

    kind = "categorical_focal_crossentropy"

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self._store(from_logits, label_smoothing, axis)
        self.alpha = alpha if isinstance(alpha, float | int) else np.asarray(alpha, float).tolist()
        self.gamma = _not_negative(gamma)


def _not_negative(gamma: float) -> float:
    if gamma < 0:
        raise ArgumentError(f"gamma must not be negative, got {gamma!r}.")
    return gamma
