"""The cross-entropy losses, plain and focal."""

from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray

from kernelearn.errors import ArgumentError
from kernelearn.losses.base import LOSSES, EngineLoss, LossOptions

_BINARY_HINT = "Divide masks of 0 and 255 by 255, and number the two classes 0 and 1."
_ONE_HOT_HINT = "Targets are one-hot rows; for class numbers use 'sparse_categorical_crossentropy'."


class _CrossEntropy(EngineLoss):
    """What cross-entropies share: logits or probabilities, label smoothing, targets that are probabilities.

    NOTE: rows of targets need not sum to 1: a row of zeros does not count, one with several ones counts each.
    """

    target_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    from_logits: bool
    label_smoothing: float
    axis: int

    def _check_common(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise ArgumentError(f"label_smoothing must be between 0 and 1, got {self.label_smoothing!r}.")


@LOSSES.register("binary_crossentropy", "bce", "BCE")
class BinaryCrossentropy(_CrossEntropy):
    """-mean(t log p + (1 - t) log(1 - p)) over the last axis.

    Args:
        from_logits: y_pred are logits, p = sigmoid(y_pred); exact however large they are. Otherwise y_pred
            are probabilities, clipped to [1e-7, 1 - 1e-7], with no gradient beyond.
        label_smoothing: targets moved this share of the way to 1/2.
    """

    kind = "binary_crossentropy"
    target_hint = _BINARY_HINT

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(reduction, name, **options)
        self.keep(locals())
        self._check_common()


@LOSSES.register("categorical_crossentropy")
class CategoricalCrossentropy(_CrossEntropy):
    """-sum(t log p) over the last axis, for one-hot (or any) target distributions.

    Args:
        from_logits: y_pred are logits, p = softmax(y_pred); exact however large they are. Otherwise y_pred
            are scaled to sum to 1 and clipped to [1e-7, 1 - 1e-7], with no gradient beyond.
        label_smoothing: share of the target mass spread equally over all classes.
    """

    kind = "categorical_crossentropy"
    is_elementwise = False
    target_hint = _ONE_HOT_HINT

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(reduction, name, **options)
        self.keep(locals())
        self._check_common()


@LOSSES.register("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(_CrossEntropy):
    """`CategoricalCrossentropy` for integer labels of shape (n, ...) or (n, ..., 1).

    Args:
        from_logits: as in `CategoricalCrossentropy`.
        ignore_class: label of samples (or pixels) that do not count, also not in the mean.
        label_smoothing: as in `CategoricalCrossentropy`; Keras does not have it here.
    """

    kind = "sparse_categorical_crossentropy"
    is_elementwise = False
    ignore_class: int | None
    target_range = None  # class numbers, which are checked against the number of classes

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        label_smoothing: float = 0.0,
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(reduction, name, **options)
        self.keep(locals())
        self._check_common()

    def mask(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any] | None:
        if self.ignore_class is None:
            return None
        _, laid_out = self.laid_out(y_true, y_pred)
        return np.asarray(y_true != self.ignore_class).reshape(laid_out.shape[:-1])


@LOSSES.register("binary_focal_crossentropy")
class BinaryFocalCrossentropy(_CrossEntropy):
    """Binary cross-entropy times (1 - p of the target)^gamma: easy samples count less.

    Args:
        apply_class_balancing: also weigh class 1 by `alpha` and class 0 by 1 - alpha.
        from_logits, label_smoothing: as in `BinaryCrossentropy`.
    Source: Lin et al. (2017), https://arxiv.org/abs/1708.02002.
    """

    kind = "binary_focal_crossentropy"
    target_hint = _BINARY_HINT

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
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(reduction, name, **options)
        self.keep(locals())
        self._check_common()
        _not_negative(gamma)


@LOSSES.register("categorical_focal_crossentropy")
class CategoricalFocalCrossentropy(_CrossEntropy):
    """Categorical cross-entropy times alpha (1 - p)^gamma: easy samples count less.

    Args:
        alpha: a weight for all classes, or one per class.
        from_logits, label_smoothing: as in `CategoricalCrossentropy`.
    Source: Lin et al. (2017), https://arxiv.org/abs/1708.02002.
    """

    kind = "categorical_focal_crossentropy"
    is_elementwise = False
    target_hint = _ONE_HOT_HINT

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(reduction, name, **options)
        self.keep(locals())
        self._check_common()
        self.alpha = np.asarray(alpha, float).tolist()
        _not_negative(gamma)


def _not_negative(gamma: float) -> None:
    if gamma < 0:
        raise ArgumentError(f"gamma must not be negative, got {gamma!r}.")
