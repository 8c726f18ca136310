"""Layers that prepare images, in training and inference alike: rescale, normalise, crop, resize."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.reference.shaping import RESIZE_WINDOWS
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError, ArgumentTypeError, DataError, ShapeError, unknown_name
from kernelearn.layers.core.arguments import (
    Ints,
    Shape,
    check_positive,
    check_rank,
    from_channels_last,
    known_sizes,
    to_channels_last,
    whole_numbers,
)
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions

# Keras divides by max(sqrt(variance), 1e-7); adding 1e-14 to the variance gives the same to rounding.
_EPSILON = 1e-14


def _as_number_or_list(value: Any, name: str) -> Any:
    """A float, or a list of floats per channel; arrays become lists, so that configs are JSON."""
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        raise ArgumentTypeError(
            f"{name} must be a number or one number per channel, got {value!r}."
        ) from None
    if array.ndim > 1:
        raise ArgumentError(f"{name} must be a number or one number per channel, got shape {array.shape}.")
    return array.tolist()


@LAYERS.register()
class Rescaling(Layer):
    """x * scale + offset, for example scale=1/255 for images stored as bytes.

    Args:
        scale, offset: a number, or one number per channel (last axis).

    >>> import numpy as np
    >>> from kernelearn.layers import Rescaling
    >>> Rescaling(1 / 127.5, offset=-1)(np.array([[0.0, 127.5, 255.0]]))
    array([[-1.,  0.,  1.]], dtype=float32)
    """

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.scale = _as_number_or_list(scale, "scale")
        self.offset = _as_number_or_list(offset, "offset")

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return graph.add("scale", x, factor=_hashable(self.scale), offset=_hashable(self.offset))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@LAYERS.register()
class Normalization(Layer):
    """(x - mean) / sqrt(variance), with statistics of the data given or measured by `adapt`, never trained.

    Args:
        axis: axis or axes with statistics of their own, -1 for channels; None for one mean and variance of
            all.
        mean, variance: given together; None to measure them.
        invert: apply the inverse, x * sqrt(variance) + mean.

    Weights: mean, variance and count, as in Keras; none if mean and variance are given.

    >>> import numpy as np
    >>> from kernelearn.layers import Normalization
    >>> layer = Normalization()
    >>> layer.adapt(np.array([[0.0, 7.0], [2.0, 9.0]]))
    >>> layer(np.array([[0.0, 9.0]]))
    array([[-1.,  1.]], dtype=float32)
    """

    supports_masking = True

    def __init__(
        self,
        axis: Ints | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.axis = () if axis is None else whole_numbers(axis, "axis")
        if (mean is None) != (variance is None):
            raise ArgumentError(f"Give mean and variance together; got mean={mean!r}, variance={variance!r}.")
        arrays = [None if v is None else np.asarray(v, float) for v in (mean, variance)]
        shapes = [() if array is None else array.shape for array in arrays]
        if shapes[0] != shapes[1] or len(shapes[0]) > len(self.axis):
            raise ArgumentError(
                f"mean and variance must have one shape with at most {len(self.axis)} axes (axis={axis!r}); "
                f"got shapes {shapes[0]} and {shapes[1]}."
            )
        self._given: dict[str, Any] = {
            n: None if a is None else a.tolist() for n, a in zip(("mean", "variance"), arrays)
        }
        self._statistics: dict[str, Variable] = {}
        self.invert = bool(invert)

    @property
    def mean(self) -> NDArray[Any] | None:
        """What is subtracted, in a shape that broadcasts with the inputs; None before `adapt` or `build`."""
        return self._broadcasting("mean")

    @property
    def variance(self) -> NDArray[Any] | None:
        """What is divided by the root of, as `mean`."""
        return self._broadcasting("variance")

    def _broadcasting(self, name: str) -> NDArray[Any] | None:
        if name not in self._statistics:
            return None
        return self._statistics[name].numpy().reshape([size or 1 for size in self._broadcast])

    def build(self, input_shape: Shape) -> None:
        self._kept = self._kept_axes(input_shape)
        sizes = tuple(input_shape[a] for a in self._kept)
        self._broadcast = tuple(s if a in self._kept else 1 for a, s in enumerate(input_shape))
        if self._given["mean"] is None:
            self._statistics = {name: self.add_weight(name, sizes, start, False) for name, start in _STARTS}
            self.add_weight("count", (), "zeros", False)
        else:
            self._statistics = {name: self._constant(name, sizes) for name, _ in _STARTS}

    def _kept_axes(self, input_shape: Shape) -> tuple[int, ...]:
        rank = len(input_shape)
        if any(not -rank <= a < rank for a in self.axis):
            raise ArgumentError(
                f"axis={self.axis} lies outside of inputs with {rank} axes, {tuple(input_shape)}."
            )
        kept = tuple(sorted(a % rank for a in self.axis))
        if any(input_shape[a] is None for a in kept):
            raise ArgumentError(
                f"Axes with statistics of their own must have a known size; got axis={self.axis} for "
                f"inputs of shape {tuple(input_shape)}."
            )
        return kept

    def _constant(self, name: str, sizes: Shape) -> Variable:
        """A given statistic as a variable that is not among the weights."""
        try:
            value = np.broadcast_to(np.asarray(self._given[name], self.dtype), [size or 0 for size in sizes])
        except ValueError as error:
            shape = np.shape(self._given[name])
            raise ShapeError(
                f"{name} of shape {shape} does not fit axes {self.axis} of sizes {sizes}."
            ) from error
        return Variable(value, name, trainable=False)

    def adapt(self, data: Any) -> None:
        """Measure mean and variance, replacing what was measured before.

        Args:
            data: an array (n, ...), a `kernelearn.data.Dataset`, or an iterable of batches, each an array or
                a tuple that starts with one.
        Raises: ArgumentError if mean and variance were given; DataError for no data or values that are not
            finite.
        """
        if self._given["mean"] is not None:
            raise ArgumentError(
                "adapt() would overwrite the mean and variance given to Normalization; leave them out."
            )
        count, mean, variance = 0, np.zeros(()), np.zeros(())
        for batch in _batches(data):
            self.ensure_built([(None, *batch.shape[1:])])
            self._check_batch(batch)
            count, mean, variance = self._combine(count, mean, variance, batch)
        if not count or not np.isfinite(variance).all():
            what = "values that are not finite (NaN or infinity)" if count else "no data"
            raise DataError(f"adapt() got {what}; it needs at least one batch of finite numbers.")
        self._statistics["mean"].assign(mean)
        self._statistics["variance"].assign(variance)

    def _check_batch(self, batch: NDArray[Any]) -> None:
        fits = batch.ndim == len(self._broadcast)
        if not fits or any(batch.shape[a] != self._broadcast[a] for a in self._kept):
            raise ShapeError(
                f"adapt() got a batch of shape {batch.shape}; sizes {self._broadcast} were expected (1: any)."
            )

    def _combine(
        self, count: int, mean: NDArray[Any], variance: NDArray[Any], batch: NDArray[Any]
    ) -> tuple[int, NDArray[Any], NDArray[Any]]:
        """Statistics of what was seen before and this batch together (Chan, Golub and LeVeque 1979)."""
        reduced = tuple(a for a in range(batch.ndim) if a not in self._kept)
        more = int(np.prod([batch.shape[a] for a in reduced]))
        if not more:
            return count, mean, variance
        batch_mean, batch_variance = batch.mean(reduced), batch.var(reduced)
        share = more / (count + more)
        spread = share * (1 - share) * np.square(batch_mean - mean)
        return (
            count + more,
            mean + share * (batch_mean - mean),
            (1 - share) * variance + share * batch_variance + spread,
        )

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        buffers = [graph.variable(s, "state", trainable=False) for s in self._statistics.values()]
        shaped = [graph.add("reshape", b, shape=self._broadcast) for b in buffers]
        return graph.add("unstandardize" if self.invert else "standardize", x, *shaped, epsilon=_EPSILON)

    def config_value(self, name: str) -> Any:
        if name in ("mean", "variance"):
            return self._given[name]
        value = super().config_value(name)
        return None if name == "axis" and not value else value


_STARTS = (("mean", "zeros"), ("variance", "ones"))


def _batches(data: Any) -> Iterable[NDArray[Any]]:
    """The images of every batch as float64 arrays."""
    if hasattr(data, "batches"):
        data = data.batches(256)
    elif isinstance(data, np.ndarray) or not isinstance(data, Iterable):
        data = [data]
    for batch in data:
        yield np.asarray(batch[0] if isinstance(batch, tuple) else batch, np.float64)


class SingleImages(Layer):
    """A layer on images (n, height, width, channels) that may be called on one, without its first axis."""

    def _as_batches(self, arrays: list[NDArray[Any]]) -> tuple[list[NDArray[Any]], bool]:
        was_one = all(array.ndim == 3 for array in arrays)
        for array in arrays if not was_one else ():
            check_rank(array.shape, 4, type(self).__name__)
        return [array[None] for array in arrays] if was_one else arrays, was_one


class _ImageLayer(SingleImages):
    """A layer on images (n, height, width, channels); subclasses give `lower_images`, channels last."""

    data_format: str

    def build(self, input_shape: Shape) -> None:
        check_rank(input_shape, 4, type(self).__name__)

    def lower(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        y = self.lower_images(graph, to_channels_last(graph, x, self.data_format))
        return from_channels_last(graph, y, self.data_format)

    def lower_images(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        """Add the operators for channels-last images."""
        raise NotImplementedError(f"{type(self).__name__} must define lower_images(graph, x).")


def centre_slice(graph: ProgramBuilder, x: Buffer, size: tuple[int, int]) -> Buffer:
    """The central window of this size."""
    starts = [(there - wanted) // 2 for there, wanted in zip(known_sizes(x), size)]
    return graph.add("slice", x, bounds=(None, *((a, a + s) for a, s in zip(starts, size)), None))


def largest_window(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Size of the largest window of an image that has the aspect ratio of `size`."""
    return max(min(height, width * size[0] // size[1]), 1), max(min(width, height * size[1] // size[0]), 1)


def crop_and_resize(
    graph: ProgramBuilder, x: Buffer, size: tuple[int, int], method: str = "bilinear", **attrs: Any
) -> Buffer:
    """The largest central window of the wanted aspect ratio, resized to `size`."""
    height, width, _ = known_sizes(x)
    window = centre_slice(graph, x, largest_window(height, width, size))
    return graph.add("resize", window, size=size, method=method, **attrs)


def centre_crop(graph: ProgramBuilder, x: Buffer, size: tuple[int, int]) -> Buffer:
    """The central window; smaller images are cropped to the aspect ratio and enlarged, as in Keras."""
    if all(there >= wanted for there, wanted in zip(known_sizes(x), size)):
        return centre_slice(graph, x, size)
    return crop_and_resize(graph, x, size)


@LAYERS.register()
class CenterCrop(_ImageLayer):
    """The middle of every image; smaller images are cropped to the aspect ratio and enlarged.

    Args:
        height, width: size of the result in pixels.
        data_format: "channels_last" (default) or "channels_first".
    """

    def __init__(
        self, height: int, width: int, data_format: str | None = None, **options: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.height = check_positive(height, "height")
        self.width = check_positive(width, "width")

    def lower_images(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        return centre_crop(graph, x, (self.height, self.width))


@LAYERS.register()
class Resizing(_ImageLayer):
    """Images resampled to a given size.

    Args:
        height, width: size of the result in pixels.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5".
        crop_to_aspect_ratio: cut the largest central window of the wanted aspect ratio first.
        pad_to_aspect_ratio: put borders of `fill_value` around the image first instead.
        antialias: widen the interpolation window when shrinking.
        data_format: "channels_last" (default) or "channels_first".
    """

    interpolation: str
    crop_to_aspect_ratio: bool
    pad_to_aspect_ratio: bool
    fill_mode: str
    fill_value: float
    antialias: bool

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.height = check_positive(height, "height")
        self.width = check_positive(width, "width")
        if interpolation not in RESIZE_WINDOWS:
            raise unknown_name("interpolation", interpolation, RESIZE_WINDOWS)
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ArgumentError("Resizing takes crop_to_aspect_ratio or pad_to_aspect_ratio, not both.")
        if fill_mode != "constant":
            raise ArgumentError(f"fill_mode of Resizing must be 'constant', got {fill_mode!r}.")

    def lower_images(self, graph: ProgramBuilder, x: Buffer) -> Buffer:
        size = (self.height, self.width)
        attrs: dict[str, Any] = {"method": self.interpolation, "antialias": self.antialias}
        if self.crop_to_aspect_ratio:
            return crop_and_resize(graph, x, size, **attrs)
        if self.pad_to_aspect_ratio:
            x = self._pad(graph, x, size)
        return graph.add("resize", x, size=size, **attrs)

    def _pad(self, graph: ProgramBuilder, x: Buffer, size: tuple[int, int]) -> Buffer:
        """Borders of `fill_value` that give the image the aspect ratio of `size`."""
        height, width, _ = known_sizes(x)
        wanted = (max(height, width * size[0] // size[1]), max(width, height * size[1] // size[0]))
        borders = [((new - old) // 2,) * 2 for new, old in zip(wanted, (height, width))]
        # NOTE: padding puts zeros; a shift before and after it turns them into the fill value.
        x = graph.add("scale", x, offset=-self.fill_value) if self.fill_value else x
        x = graph.add("pad", x, padding=((0, 0), *borders, (0, 0)))
        return graph.add("scale", x, offset=self.fill_value) if self.fill_value else x
