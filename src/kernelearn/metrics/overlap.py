"""Intersection over union: how well segmented regions, or classes, cover those of the targets."""

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn.engine.reference.targets import class_numbers
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.metrics.base import METRICS, Metric, MetricOptions, broadcast_weight
from kernelearn.metrics.counts import EPSILON


@METRICS.register("io_u", "iou")
class IoU(Metric):
    """Mean, over some classes, of true positives / (true positives + false positives + false negatives).

    Classes that neither targets nor predictions have do not count. Class numbers outside of 0 to
    `num_classes` - 1 are left out, as in Keras. NOTE: Keras counts in whole numbers and cuts the fractions of
    sample weights off; here they count.

    Args:
        num_classes: the number of classes.
        target_class_ids: the classes that the mean is over.
        ignore_class: a class of targets that does not count, such as the 255 of "void".
        sparse_y_true, sparse_y_pred: class numbers; False: one score or probability per class, along `axis`.
        axis: where the classes are, if they are not numbers.

    >>> round(IoU(2, [0])([0, 0, 1, 1], [0, 1, 0, 1]), 4)
    0.3333
    """

    default_name = "io_u"
    higher_is_better = True
    num_classes: int
    target_class_ids: list[int]
    ignore_class: int | None
    sparse_y_true: bool
    sparse_y_pred: bool
    axis: int

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
        **options: Unpack[MetricOptions],
    ) -> None:
        super().__init__(name, **options)
        self.target_class_ids = [int(one) for one in np.atleast_1d(np.asarray(target_class_ids))]
        self.keep(locals())
        if num_classes < 1:
            raise ArgumentError(f"num_classes must be at least 1, got {num_classes!r}.")
        if not all(0 <= one < num_classes for one in self.target_class_ids):
            raise ArgumentError(
                f"target_class_ids must be classes from 0 to {num_classes - 1}, got {target_class_ids!r}."
            )
        self.reset_state()

    def initial_state(self) -> dict[str, Any]:
        return {"matrix": np.zeros((self.num_classes, self.num_classes))}

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        actual = self._classes(np.asarray(y_true), self.sparse_y_true, "targets")
        predicted = self._classes(np.asarray(y_pred), self.sparse_y_pred, "predictions")
        if actual.size != predicted.size:
            raise ShapeError(
                f"{self.name}: targets and predictions do not belong together, got shapes {np.shape(y_true)} "
                f"and {np.shape(y_pred)}."
            )
        weights = broadcast_weight(sample_weight, actual.shape)
        amounts = np.ones(actual.size) if weights is None else weights.ravel()
        self._add(actual.ravel(), predicted.ravel(), amounts)

    def _classes(self, array: NDArray[Any], is_sparse: bool, what: str) -> NDArray[Any]:
        if is_sparse:
            return class_numbers(array).astype(np.intp)
        if not array.ndim or array.shape[self.axis] != self.num_classes:
            raise ShapeError(
                f"{self.name} with {self.num_classes} classes takes {what} with as many scores along axis "
                f"{self.axis}, got shape {array.shape}. For class numbers give sparse_y_true=True or "
                "sparse_y_pred=True."
            )
        return np.asarray(array.argmax(self.axis))

    def _add(self, actual: NDArray[Any], predicted: NDArray[Any], weights: NDArray[Any]) -> None:
        count = self.num_classes
        kept = (actual >= 0) & (actual < count) & (predicted >= 0) & (predicted < count)
        if self.ignore_class is not None:
            kept &= actual != self.ignore_class
        cells = actual[kept] * count + predicted[kept]
        self.state["matrix"] = self.state["matrix"] + np.bincount(cells, weights[kept], count**2).reshape(
            count, count
        )

    def result(self) -> float:
        matrix = self.state["matrix"]
        hits = np.diag(matrix)[self.target_class_ids]
        union = (matrix.sum(0) + matrix.sum(1))[self.target_class_ids] - hits
        seen = union > 1e-9
        return float(np.sum(np.where(seen, hits / (union + EPSILON), 0.0)) / (np.sum(seen) + EPSILON))


@METRICS.register("binary_io_u", "binary_iou")
class BinaryIoU(IoU):
    """`IoU` of decisions between two classes.

    Args:
        target_class_ids: the classes that the mean is over, of 0 and 1.
        threshold: predictions that reach it are of class 1.

    >>> round(BinaryIoU(threshold=0.3)([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7]), 4)
    0.3333
    """

    default_name = "binary_io_u"
    fixed = frozenset({"num_classes", "ignore_class", "sparse_y_true", "sparse_y_pred", "axis"})
    threshold: float

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        super().__init__(2, target_class_ids, name, **options)
        self.keep(locals())

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        super().update_state(y_true, np.asarray(y_pred) >= self.threshold, sample_weight)


@METRICS.register("mean_io_u", "mean_iou")
class MeanIoU(IoU):
    """`IoU` of all classes.

    >>> round(MeanIoU(2)([0, 0, 1, 1], [0, 1, 0, 1]), 4)
    0.3333
    """

    default_name = "mean_io_u"
    fixed = frozenset({"target_class_ids"})

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
        **options: Unpack[MetricOptions],
    ) -> None:
        every = range(max(num_classes, 0))
        super().__init__(
            num_classes, every, name, ignore_class, sparse_y_true, sparse_y_pred, axis, **options
        )


@METRICS.register("one_hot_io_u", "one_hot_iou")
class OneHotIoU(IoU):
    """`IoU` for one-hot targets and scores of the classes."""

    default_name = "one_hot_io_u"
    fixed = frozenset({"sparse_y_true"})

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
        **options: Unpack[MetricOptions],
    ) -> None:
        super().__init__(
            num_classes, target_class_ids, name, ignore_class, False, sparse_y_pred, axis, **options
        )


@METRICS.register("one_hot_mean_io_u", "one_hot_mean_iou")
class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` for one-hot targets and scores of the classes."""

    default_name = "one_hot_mean_io_u"
    fixed = frozenset({"target_class_ids", "sparse_y_true"})

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
        **options: Unpack[MetricOptions],
    ) -> None:
        super().__init__(num_classes, name, ignore_class, False, sparse_y_pred, axis, **options)
