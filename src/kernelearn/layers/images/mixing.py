"""Layers that mix the images of a batch with each other in training, and their labels in the same shares.

They take images, or a dict of "images" and "labels" as `keras` has them: labels are rows (n, classes).
"""

from __future__ import annotations

from typing import Any, Unpack

from kernelearn import ops
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.layers.core.arguments import check_data_format
from kernelearn.layers.core.base import LAYERS, Layer, LayerOptions
from kernelearn.layers.images.augmentation import Factor, factor_range
from kernelearn.layers.images.patches import inside
from kernelearn.ops import random
from kernelearn.tracing import fixed


class _Mixing(Layer):
    """Subclasses give `mixed`: images and the share of an image's own label."""

    called_training = True
    seed: int | None

    def _prepare(self, seed: int | None) -> None:
        self._source = None if seed is None else random.SeedGenerator(seed)

    def call(self, data: Any, training: bool = False) -> Any:
        if not training:
            return data
        images = fixed(data["images"] if isinstance(data, dict) else data)
        if len(images.shape) != 4:
            raise ShapeError(
                f"{type(self).__name__} takes images (n, height, width, channels), got shape "
                f"{tuple(images.shape)}."
            )
        order = random.permutation(images.shape[0], seed=self._source)
        new, share = self.mixed(images, ops.take(images, order, axis=0))
        if not isinstance(data, dict):
            return new
        if "labels" not in data:
            return {**data, "images": new}
        labels = fixed(data["labels"])
        labels = ops.cast(labels, str(new.dtype))
        if len(labels.shape) != 2:
            raise ShapeError(
                f"{type(self).__name__} mixes labels (n, classes), got shape {tuple(labels.shape)}: class "
                "numbers become rows by ops.one_hot."
            )
        share = ops.reshape(share, (-1, 1))
        return {
            **data,
            "images": new,
            "labels": share * labels + (1.0 - share) * ops.take(labels, order, axis=0),
        }

    def mixed(self, images: Any, others: Any) -> tuple[Any, Any]:
        """The images mixed with the others, and (n,) the share of each that is its own."""
        raise NotImplementedError(f"{type(self).__name__} must define mixed(images, others).")


@LAYERS.register()
class MixUp(_Mixing):
    """In training, every image becomes a weighted mean of itself and another of the batch; so does its label.

    Args:
        alpha: the share of an image is drawn from Beta(alpha, alpha): small ones mix little.
        seed: of the draws, besides the run's.
    Source: Zhang et al. (2017), https://arxiv.org/abs/1710.09412.
    """

    alpha: float

    def __init__(
        self,
        alpha: float = 0.2,
        data_format: str | None = None,
        seed: int | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.data_format = check_data_format(data_format)
        if not alpha > 0:
            raise ArgumentError(f"alpha must be greater than 0, got {alpha!r}.")
        self._prepare(seed)

    def mixed(self, images: Any, others: Any) -> tuple[Any, Any]:
        share = random.beta((images.shape[0],), self.alpha, self.alpha, seed=self._source)
        weight = ops.reshape(share, (-1, 1, 1, 1))
        return weight * images + (1.0 - weight) * others, share


@LAYERS.register()
class CutMix(_Mixing):
    """In training, a rectangle of every image comes from another of the batch; its label does in that share.

    Args:
        factor: the kept share is drawn from Beta(a, a), a from [0, factor] or (lowest, highest) in [0, 1].
        seed: of the draws, besides the run's.
    Source: Yun et al. (2019), https://arxiv.org/abs/1905.04899.
    """

    factor: Factor

    def __init__(
        self,
        factor: Factor = 1.0,
        seed: int | None = None,
        data_format: str | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.keep(locals())
        self.data_format = check_data_format(data_format)
        low, high = factor_range(factor, "factor", 0.0, 1.0)
        self._range = (max(low, 0.0), high)
        self._prepare(seed)

    def mixed(self, images: Any, others: Any) -> tuple[Any, Any]:
        if self.data_format == "channels_first":
            images, others = ops.moveaxis(images, 1, -1), ops.moveaxis(others, 1, -1)
        count, height, width = images.shape[:3]
        low, high = self._range
        alpha = low + random.uniform((), seed=self._source) * (high - low) + 1e-6
        kept = random.beta((count,), alpha, alpha, seed=self._source)
        side = ops.reshape(ops.sqrt(1.0 - kept), (-1, 1, 1, 1))
        places = [random.uniform((count, 1, 1, 1), seed=self._source) for _ in range(2)]
        new = ops.where(inside(height, width, (side, side), places), others, images)
        if self.data_format == "channels_first":
            new = ops.moveaxis(new, -1, 1)
        return new, kept
