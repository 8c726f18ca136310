"""Maps made larger or smaller: PyTorch's rule of places, where the engine has the same one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Node

from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Value

aten = torch.ops.aten


def _factors(region: Region, node: Node, x: Node) -> tuple[Any, tuple[int, ...] | None]:
    """The images, and by which whole numbers their maps grow; None if by others."""
    images, outputs = region.images(x), region.shape(node)[2:]
    sizes = images.shape[1:-1]
    if any(not n or not o or o % n for n, o in zip(sizes, outputs)):
        return images, None
    return images, tuple((o or 0) // (n or 1) for n, o in zip(sizes, outputs))


def _are_those(factors: Sequence[int], given: Sequence[float | None] | None) -> bool:
    """Whether the factors that places are computed with are these."""
    return given is None or all(one is None or one == factor for one, factor in zip(given, factors))


@rule(aten.upsample_nearest1d.vec, aten.upsample_nearest2d.vec, aten.upsample_nearest3d.vec)
@rule(
    aten._upsample_nearest_exact1d.vec, aten._upsample_nearest_exact2d.vec, aten._upsample_nearest_exact3d.vec
)
def nearest(
    region: Region, node: Node, x: Node, size: Sequence[int] | None, scales: Sequence[float | None] | None
) -> Value:
    """Each number so many times along each axis."""
    images, factors = _factors(region, node, x)
    if factors is None or not _are_those(factors, scales):
        raise CannotTranslate("resizing by a factor that is no whole number")
    return Value.images(region.add("upsample", images, factors=factors))


@rule(aten.upsample_nearest1d.default)
@rule(aten._upsample_nearest_exact1d.default)
def nearest1d(region: Region, node: Node, x: Node, size: Sequence[int], scale: float | None) -> Value:
    """The same under its other name."""
    return nearest(region, node, x, size, [scale])


@rule(aten.upsample_nearest2d.default, aten.upsample_nearest3d.default)
@rule(aten._upsample_nearest_exact2d.default, aten._upsample_nearest_exact3d.default)
def nearest_default(region: Region, node: Node, x: Node, size: Sequence[int], *scales: float | None) -> Value:
    """The same under its other names."""
    return nearest(region, node, x, size, scales)  # type: ignore[arg-type]


@rule(aten.upsample_linear1d.vec, aten.upsample_bilinear2d.vec, aten.upsample_trilinear3d.vec)
def linear(
    region: Region,
    node: Node,
    x: Node,
    size: Sequence[int] | None,
    align_corners: bool,
    scales: Sequence[float] | None,
) -> Value:
    """Means of the nearest numbers, by their distance from the middle of the new one."""
    images, factors = _factors(region, node, x)
    if align_corners:
        raise CannotTranslate("resizing with aligned corners")
    if factors is not None and _are_those(factors, scales):
        return Value.images(region.add("upsample", images, factors=factors, method="bilinear"))
    if scales is not None:
        raise CannotTranslate("resizing by a factor that is no whole number")
    outputs = tuple(region.shape(node)[2:])
    return Value.images(region.add("resize", images, size=outputs, method="bilinear"))


@rule(aten.upsample_bilinear2d.default, aten.upsample_trilinear3d.default, aten.upsample_linear1d.default)
def linear_default(
    region: Region, node: Node, x: Node, size: Sequence[int], align_corners: bool, *scales: float | None
) -> Value:
    """The same under its other names."""
    given = None if all(scale is None for scale in scales) else scales
    return linear(region, node, x, size, align_corners, given)  # type: ignore[arg-type]
