"""What all losses share: a name, how the values of the samples are reduced, a config.

Your own loss: a function of (y_true, y_pred), or a subclass of `Loss` with `call(y_true, y_pred)`, written
with functions of `kernelearn.ops`: one value per sample, per position, or one number. It is traced and
compiled with the step. Code in NumPy works where the class defines `gradient(y_true, y_pred)` too, the
derivative of the value by `y_pred`. With `@LOSSES.register()` above the class its name works as a string, and
files can hold it.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn import config
from kernelearn._configurable import Configurable, arguments_of
from kernelearn.engine.arrays import inverse_order
from kernelearn.engine.reference.losses import LOSSES as ENGINE_LOSSES
from kernelearn.errors import ArgumentError, DataError, ShapeError
from kernelearn.registry import Registry
from kernelearn.tracing import Traced

LOSSES = Registry("loss")

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


class LossOptions(TypedDict, total=False):
    """What every loss takes besides its arguments, as in Keras: losses are computed in the type of y_pred."""

    dtype: str | None


class Loss(Configurable):
    """Base of all losses.

    Args:
        name: by default the class name.
        reduction: how the values of the samples become one number. "sum_over_batch_size" (the same as
            "mean") is sum(weight * value) / number of values; "sum" does not divide;
            "mean_with_sample_weight" divides by the sum of the weights; None or "none" keeps the values.
    Attributes:
        kind: the engine's name of the loss, "custom" for a class of your own.
        target_range: the smallest and largest target for which the loss has a meaning; None where any has.
        target_hint: what to do about others.
        axis: where the classes of y_pred are, or what is averaged over; the last axis in most losses.
        is_elementwise: whether the value is a mean over the last axis, of something for each number there.
    """

    kind: ClassVar[str] = "custom"
    axis: Any = -1
    target_range: ClassVar[tuple[float, float] | None] = None
    target_hint: ClassVar[str] = ""
    is_elementwise: ClassVar[bool] = False
    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {"dtype": (None, "float32")}

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        **keras_options: Unpack[LossOptions],
    ) -> None:
        self.refuse_rest(keras_options)
        if reduction not in REDUCTIONS:
            raise ArgumentError(f"reduction must be one of {REDUCTIONS}, got {reduction!r}.")
        self.name = name or type(self).__name__
        self.reduction = reduction

    def call(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        """Loss of every sample: y_pred of shape (n, ..., k) gives (n, ...)."""
        raise NotImplementedError(f"{type(self).__name__} must define call(self, y_true, y_pred).")

    def gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        """Derivative of the loss of every sample with respect to y_pred, of the shape of y_pred.

        Defined only where `call` computes with NumPy; code in functions of `ops` is differentiated.
        """
        raise NotImplementedError(f"{type(self).__name__} is traced and has no gradient of its own.")

    @property
    def is_traced(self) -> bool:
        """Whether `call` is the user's own and written with functions of `ops`."""
        return self.kind == "custom" and type(self).gradient is Loss.gradient

    def mask(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any] | None:
        """Boolean array of the samples that count, of the shape of `call`'s result; None if all do."""
        return None

    def laid_out(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Targets and predictions as the engine takes them; for a loss of one's own as they are."""
        return y_true, y_pred

    def order(self, rank: int) -> tuple[int, ...] | None:
        """The order of axes in which a loss of the engine takes predictions; None as they are."""
        return None

    def counted(self, values: Any) -> Any:
        """Where a value counts, as booleans, from the values themselves; None: everywhere."""
        return None

    def check_targets(self, y_true: NDArray[Any]) -> None:
        """Refuse targets for which this loss means nothing: done for every batch, before the engine sees it.

        Raises: DataError for targets outside of `target_range`.
        """
        if self.target_range is None or not y_true.size or y_true.dtype.kind == "b":
            return
        low, high = self.target_range
        smallest, largest = y_true.min(), y_true.max()
        if not (low <= smallest and largest <= high):
            raise DataError(
                f"{self.name} takes targets {_range_words(low, high)}; got targets from {smallest:g} to "
                f"{largest:g}. {self.target_hint}".rstrip()
            )

    def attrs(self) -> dict[str, Any]:
        """The attributes of the engine's loss operator, JSON-able."""
        return {}

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """The reduced loss, a float; an array of values per sample with reduction None.

        Args:
            y_true: targets, of the shape of y_pred (one axis less for a loss on integer labels).
            y_pred: predictions (n, ..., k); integers become the default float type.
            sample_weight: (n,) or any leading part of the shape of the values; default all ones.
        Raises: ShapeError if the shapes do not belong together.

        >>> from kernelearn.losses import MeanSquaredError
        >>> MeanSquaredError()([[0.0, 1.0]], [[1.0, 1.0]])
        0.5
        """
        if any(isinstance(value, Traced) for value in (y_true, y_pred, sample_weight)):
            return self.traced(y_true, y_pred, sample_weight)
        predictions = np.asarray(y_pred)
        if predictions.dtype.kind != "f":
            predictions = predictions.astype(config.floatx())
        targets = np.asarray(y_true)
        self.check_targets(targets)
        values = np.asarray(self.call(targets, predictions))
        mask = self.mask(targets, predictions)
        mask = self.counted(values) if mask is None else mask
        factors = sample_factors(values.shape, values.dtype, sample_weight, mask, self.reduction)
        return values * factors if self.reduction in (None, "none") else float(np.sum(values * factors))

    def traced(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The reduced loss as a traced number: what calling the loss gives in code that is traced."""
        from kernelearn import ops
        from kernelearn.losses import traced

        mask = None
        values: Any
        if self.kind != "custom":
            y_true, y_pred = self.laid_out(y_true, y_pred)
            values = traced.VALUES[self.kind](y_true, y_pred, **self.attrs())
            ignored = getattr(self, "ignore_class", None)
            mask = None if ignored is None else traced.mask_like(y_true, ignored, values)
        else:
            target, prediction = traced.as_floats(y_true, y_pred)
            values = self.call(target, prediction)  # type: ignore[arg-type]
            if not isinstance(values, Traced):
                raise ShapeError(
                    f"It gave {values!r} of type {type(values).__name__}, which does not depend on its "
                    "arguments. Compute it from y_true and y_pred with functions of kernelearn.ops."
                )
            chosen = self.counted(values)
            mask = None if chosen is None else ops.cast(chosen, values.dtype)
        return traced.reduced(values, sample_weight, self.reduction, mask)


def sample_factors(
    shape: tuple[int, ...],
    dtype: Any,
    sample_weight: ArrayLike | None = None,
    mask: NDArray[Any] | None = None,
    reduction: str | None = "sum_over_batch_size",
) -> NDArray[Any]:
    """What the loss value of each sample is multiplied by before all are summed.

    The reduced loss is sum(factors * values), so its gradient is factors[..., None] * gradient.

    Args:
        shape: shape of the values, one per sample (and pixel).
        sample_weight: weights, of a leading part of `shape`.
        mask: True where a sample counts. The mean is then over those samples only.
        reduction: see `Loss`.
    Raises: ShapeError if sample_weight does not fit.
    """
    weights = np.ones(shape, dtype)
    if mask is not None:
        weights *= mask
        if reduction in ("sum_over_batch_size", "mean"):
            weights *= mask.size / max(int(np.count_nonzero(mask)), 1)
    if sample_weight is not None:
        weights *= expanded_weight(sample_weight, shape, dtype)
    if reduction in ("sum", "none", None):
        return weights
    total = float(np.sum(weights)) if reduction == "mean_with_sample_weight" else float(weights.size)
    return weights / total if total else np.zeros_like(weights)


def leading_weight(weight: ArrayLike, shape: tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
    """Sample weights with the leading axes of `shape`; one number counts for all along an axis.

    Raises: ShapeError if they have other axes.
    """
    weights = np.asarray(weight, dtype)
    if not shape and weights.size == 1:
        return weights.reshape(())
    if weights.ndim > max(len(shape), 1) and weights.shape[-1] == 1:
        weights = weights[..., 0]
    leading = shape[: max(weights.ndim, 1)]
    if any(size not in (1, own) for size, own in zip(weights.shape, shape)) or weights.ndim > len(leading):
        raise ShapeError(
            f"sample_weight must have shape {shape[:1]} or more leading axes of {shape}, got {weights.shape}."
        )
    return np.broadcast_to(weights, leading)


def expanded_weight(weight: ArrayLike, shape: tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
    """Sample weights with trailing axes of size 1, so that they multiply values of `shape`."""
    leading = leading_weight(weight, shape, dtype)
    return leading.reshape(leading.shape + (1,) * (len(shape) - leading.ndim))


def _range_words(low: float, high: float) -> str:
    return f"from {low:g} to {high:g}" if high < float("inf") else f"of {low:g} or more"


class EngineLoss(Loss):
    """A loss that the engine knows; its own arguments are its attributes there."""

    is_elementwise = True

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(name or self.kind, reduction, **options)

    def attrs(self) -> dict[str, Any]:
        own = [n for n in arguments_of(type(self)).kinds if n not in ("name", "reduction", "axis")]
        return {name: getattr(self, name) for name in own}

    def order(self, rank: int) -> tuple[int, ...] | None:
        """The order of so many axes in which that of the loss is the last; None if it is.

        Raises: ShapeError for an axis that there is not.
        """
        if self.axis == -1:
            return None
        if not -rank <= self.axis < rank or self.axis % rank == 0:
            raise ShapeError(
                f"{self.name} works along axis {self.axis}, which predictions of {rank} axes, batch first, "
                "do not have besides the batch."
            )
        axis = self.axis % rank
        return None if axis == rank - 1 else (*(i for i in range(rank) if i != axis), axis)

    def laid_out(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Targets and predictions, arrays or traced, with the axis of the loss at the end."""
        order = self.order(len(y_pred.shape))
        if order is None:
            return y_true, y_pred
        return _moved(y_true, order), _moved(y_pred, order)

    def call(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return ENGINE_LOSSES[self.kind].value(*self.laid_out(y_true, y_pred), **self.attrs())

    def gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        order = self.order(y_pred.ndim)
        slopes = ENGINE_LOSSES[self.kind].gradient(*self.laid_out(y_true, y_pred), **self.attrs())
        return slopes if order is None else slopes.transpose(inverse_order(order))


def _moved(values: Any, order: tuple[int, ...]) -> Any:
    """Axes in this order, where there are so many: class numbers have one less, and stay."""
    from kernelearn import ops

    return ops.transpose(values, order) if len(values.shape) == len(order) else values


class FunctionLoss(Loss):
    """A function of (y_true, y_pred) as a loss.

    Args:
        function: gives one value per sample or position, or one number, with functions of `ops`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        super().__init__(name or getattr(function, "__name__", type(function).__name__), reduction)
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(y_true, y_pred)
