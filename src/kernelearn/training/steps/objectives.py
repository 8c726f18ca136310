"""What is optimised and measured: one loss per output, its weight, and the metrics, as `compile` was told."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn import losses, metrics
from kernelearn.engine.reference.losses import LOSSES
from kernelearn.engine.reference.targets import class_numbers
from kernelearn.errors import ArgumentError, DataError, ShapeError
from kernelearn.layers.core.unknown_sizes import fits

if TYPE_CHECKING:
    from kernelearn.losses import Loss
    from kernelearn.metrics import Metric


@dataclass
class Objective:
    """The loss and the metrics of one output.

    Attributes:
        output: name of the output.
        shape: of the prediction, batch first.
        loss: a `Loss`, or None for an output that is only measured.
        weight: factor of its loss in the total.
        metrics, weighted: metrics without and with sample weights.
        is_one_of_several: whether the model has other outputs.
    """

    output: str
    shape: tuple[int | None, ...]
    loss: Loss | None
    weight: float
    metrics: list[Metric]
    weighted: list[Metric]
    is_one_of_several: bool = False

    @property
    def is_used(self) -> bool:
        """Whether targets are needed: the output has a loss or metrics."""
        return self.loss is not None or bool(self.metrics or self.weighted)

    @property
    def has_own_loss(self) -> bool:
        """Whether the loss is traced code of the user's own, which takes targets of any shape."""
        return self.loss is not None and self.loss.is_traced

    @property
    def has_integer_targets(self) -> bool:
        """Whether targets are class numbers, one axis less than the prediction."""
        if self.loss is not None and self.loss.kind in LOSSES:
            return LOSSES[self.loss.kind].integer_labels
        return bool(getattr(self.loss, "integer_labels", False))

    @property
    def value_shape(self) -> tuple[int | None, ...]:
        """Of the values of the loss before they are summed: one for each sample and position."""
        return self.loss_shape[:-1]

    @property
    def loss_shape(self) -> tuple[int | None, ...]:
        """Of the predictions, with the axis along which the loss works at the end."""
        order = None if self.loss is None else self.loss.order(len(self.shape))
        return self.shape if order is None else tuple(self.shape[i] for i in order)

    @property
    def target_shape(self) -> tuple[int | None, ...]:
        """Of the targets, batch first."""
        return self.value_shape if self.has_integer_targets else self.shape

    def target(self, y: Any, dtype: str) -> np.ndarray:
        """Targets in the shape and type that the loss takes.

        Raises: ShapeError if they cannot be brought to it, DataError for class numbers out of range.
        """
        array = np.asarray(y)
        if self.has_own_loss:
            return array.astype(dtype, copy=False)
        wanted = self.target_shape
        if array.ndim == len(wanted) + 1 and array.shape[-1] == 1:
            array = array[..., 0]
        elif array.ndim == len(wanted) - 1 and wanted[-1] == 1:
            array = array[..., None]
        if self.loss is None:
            return array  # the metrics know what they take
        if not fits(array.shape, wanted):
            raise ShapeError(self._mismatch(array))
        self.loss.check_targets(array)
        if not self.has_integer_targets:
            return array.astype(dtype, copy=False)
        return self._class_numbers(array)

    def sample_weights(self, given: Any, rows: int, dtype: str) -> np.ndarray:
        """(rows,) weights of samples, or rows x (...) weights of positions, all ones for None.

        Raises: ShapeError for a shape that is neither.
        """
        if given is None:
            return np.ones(rows, dtype)
        weights = np.asarray(given, dtype)
        wanted = (rows, *(int(size or 0) for size in self.value_shape[1:]))
        while weights.ndim > 1 and weights.shape[-1] == 1 and weights.shape != wanted[: weights.ndim]:
            weights = weights[..., 0]
        if not weights.ndim or weights.shape != wanted[: weights.ndim]:
            raise ShapeError(
                f"sample_weight of output {self.output!r} must have the shape ({rows},), a number for each "
                f"sample, or more leading axes of {wanted}, a number for each position; got "
                f"{np.shape(given)}."
            )
        if weights.ndim == 1:
            return weights
        return np.broadcast_to(weights.reshape(*weights.shape, *[1] * (len(wanted) - weights.ndim)), wanted)

    def class_weights(self, y: Any, factors: Mapping[int, float]) -> np.ndarray:
        """The factor of the class of each sample and position, in the shape of the loss's values.

        Raises: ArgumentError for targets whose class has no factor.
        """
        labels = np.asarray(y)
        if not self.has_integer_targets and labels.ndim == len(self.shape) and self.loss_shape[-1] != 1:
            labels = labels.argmax(-1 if self.loss is None else self.loss.axis)
        while labels.ndim > max(len(self.value_shape), 1) and labels.shape[-1] == 1:
            labels = labels[..., 0]
        ignored = getattr(self.loss, "ignore_class", None)
        known = dict(factors) if ignored is None else {ignored: 1.0, **factors}
        classes = np.array(sorted(known))
        at = np.searchsorted(classes, labels).clip(0, len(classes) - 1)
        if not np.array_equal(classes[at], labels):
            unknown = np.unique(labels[classes[at] != labels]).tolist()
            raise ArgumentError(
                f"class_weight has no entry for the classes {unknown[:10]}; it has {sorted(factors)}."
            )
        found: np.ndarray = np.array([known[label] for label in classes.tolist()], np.float64)[at]
        return found

    def _class_numbers(self, array: np.ndarray) -> np.ndarray:
        classes, ignored = self.loss_shape[-1], getattr(self.loss, "ignore_class", None)
        counted = array if ignored is None else array[array != ignored]
        if counted.size and (counted.min() < 0 or counted.max() >= (classes or 0)):
            raise DataError(
                f"Output {self.output!r} has {classes} classes, so labels must be 0 to {(classes or 1) - 1}; "
                f"got labels from {counted.min()} to {counted.max()}."
            )
        return class_numbers(array).astype(np.int64, copy=False)

    def _mismatch(self, array: np.ndarray) -> str:
        hint = ""
        if self.has_integer_targets and array.ndim == len(self.shape):
            hint = " These look like one-hot rows: use loss='categorical_crossentropy'."
        elif not self.has_integer_targets and array.ndim == len(self.shape) - 1:
            hint = " For class numbers use loss='sparse_categorical_crossentropy'."
        name = getattr(self.loss, "name", "no loss")
        sizes = ("n", *("any" if s is None else s for s in self.target_shape[1:]))
        return f"Targets of output {self.output!r} ({name}) must have shape {sizes}; got {array.shape}.{hint}"


def make_objectives(
    outputs: Sequence[tuple[str, tuple[int | None, ...]]],
    loss: Any,
    loss_weights: Any,
    plain: Any,
    weighted: Any,
) -> list[Objective]:
    """One `Objective` per output, from the arguments of `compile`.

    Args:
        outputs: (name, shape) of every output of the model.
        loss, loss_weights, plain, weighted: one for all, a list with one per output, or a dict by output
            name; metrics of a single output may be a plain list.
    """
    names = [name for name, _ in outputs]
    used: set[int] = set()
    loss_of = _per_output(loss, names, "loss")
    weight_of = _per_output(loss_weights, names, "loss_weights")
    objectives = []
    for i, (name, shape) in enumerate(outputs):
        found = _as_loss(loss_of[i])
        own, own_weighted = (
            [_unshared(metric, used) for metric in _metrics_of(family, what, names, i, found, shape)]
            for what, family in (("metrics", plain), ("weighted_metrics", weighted))
        )
        weight = 1.0 if weight_of[i] is None else float(weight_of[i])
        objectives.append(Objective(name, tuple(shape), found, weight, own, own_weighted, len(names) > 1))
    return objectives


def _as_loss(identifier: Any) -> Loss | None:
    found = losses.get(identifier)
    if found is not None and not isinstance(found, losses.Loss):
        raise ArgumentError(
            "A loss must be a name, a function of (y_true, y_pred), or an object of a subclass of "
            f"kernelearn.losses.Loss; got {identifier!r}."
        )
    return found


def check_outputs(value: Mapping[str, Any], names: Sequence[str], what: str) -> None:
    """Raise ArgumentError for a dict by output name that has another name."""
    unknown = sorted(str(name) for name in set(value) - set(names))
    if unknown:
        raise ArgumentError(
            f"{what} names outputs {unknown} that the model does not have; it has {list(names)}."
        )


def _per_output(value: Any, names: list[str], what: str) -> list[Any]:
    if isinstance(value, Mapping) and "class_name" not in value:
        check_outputs(value, names, what)
        return [value.get(name) for name in names]
    if isinstance(value, list | tuple):
        if len(value) != len(names):
            raise ArgumentError(
                f"{what} has {len(value)} entries, the model has {len(names)} outputs: {names}."
            )
        return list(value)
    return [value] * len(names)


def _metrics_of(
    family: Any, what: str, names: list[str], index: int, loss: Loss | None, shape: tuple[int | None, ...]
) -> list[Metric]:
    if family is None:
        return []
    if isinstance(family, Mapping) and "class_name" not in family:
        check_outputs(family, names, what)
        family = family.get(names[index]) or []
    elif len(names) > 1 and isinstance(family, list | tuple) and len(family) == len(names):
        family = family[index] or []
    chosen = family if isinstance(family, list | tuple) else [family]
    return [metrics.resolve(metric, loss, shape) for metric in chosen]


def _unshared(metric: Metric, used: set[int]) -> Metric:
    """A metric whose state is that of one output alone: an object that has a place already is copied."""
    own = copy.deepcopy(metric) if id(metric) in used else metric
    used.add(id(own))
    return own
