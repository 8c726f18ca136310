"""Resize and Upsample: every mode of the standard becomes, on each axis, a choice of pixels or a matrix.

The numbers follow the standard's own formulas, in float64: where a layer of ours computes the same it is that
layer, else the pixels or the matrix are constants of the network.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.reader import Reader
from kernelearn.conversion.onnx.reading.values import Followed, Images, images_like
from kernelearn.engine.reference.images.resizing import sampling_matrix
from kernelearn.layers import UpSampling1D, UpSampling2D, UpSampling3D

_LARGEST = 1 << 13  # pixels of an axis
_CROPS = "tf_crop_and_resize"
# new pixel, scale, old size, new size -> place in old pixels
_PLACES: dict[str, Any] = {
    "half_pixel": lambda x, s, old, new: (x + 0.5) / s - 0.5,
    "pytorch_half_pixel": lambda x, s, old, new: (x + 0.5) / s - 0.5 if new > 1 else np.zeros_like(x),
    "align_corners": lambda x, s, old, new: x * (old - 1) / (new - 1) if new > 1 else np.zeros_like(x),
    "asymmetric": lambda x, s, old, new: x / s,
    "half_pixel_symmetric": lambda x, s, old, new: old / 2 * (1 - new / (old * s)) + (x + 0.5) / s - 0.5,
}
_ROUNDS: dict[str, Any] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(r: Reader, node: Node) -> None:
    a = r.options(
        node,
        mode="nearest",
        coordinate_transformation_mode="half_pixel" if r.opset >= 11 else "asymmetric",
        nearest_mode="round_prefer_floor" if r.opset >= 11 else "floor",
        cubic_coeff_a=-0.75,
        exclude_outside=0,
        extrapolation_value=0.0,
        antialias=0,
        axes=None,
        keep_aspect_ratio_policy="stretch",
    )
    x = r.unrowed(node, r.followed(node))
    scales_at = 2 if r.opset >= 11 else 1
    if a["coordinate_transformation_mode"] == _CROPS:
        a["roi"] = [float(part) for part in np.ravel(r.known(node, 1, "the region").array)]
    sizes = _sizes(r, node) if r.has(node, 3) else None
    scales = None
    if r.has(node, scales_at):
        array = r.known(node, scales_at, "scales").array
        scales = [float(s) for s in np.ravel(array)] or None
    _resized(r, node, x, a, scales, sizes)


def _sizes(r: Reader, node: Node) -> list[Any] | None:
    """The wanted sizes; that of the images may be their number, whatever it is. None for an empty list."""
    array = np.ravel(r.known(node, 3, "sizes").array)
    if array.size > 8 or not all(isinstance(s, int | np.integer | Images) for s in array):
        r.refuse(node, f"sizes={array[:9]}")
    return [s if isinstance(s, Images) else int(s) for s in array] or None


def upsample(r: Reader, node: Node) -> None:
    """Scales are an attribute in opset 7 and 8, an input in 9; later it is Resize."""
    x = r.unrowed(node, r.followed(node))
    if r.opset < 9:
        a = r.options(node, mode="nearest", scales=None)
        scales = a["scales"]
    else:
        a = r.options(node, mode="nearest")
        scales = [float(s) for s in np.ravel(r.known(node, 1, "scales").array)]
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "axes": None}
    _resized(r, node, x, {**a, **modes}, scales, None)


def _resized(r: Reader, node: Node, x: Followed, a: dict[str, Any], scales: Any, sizes: Any) -> None:
    axes = list(range(x.rank)) if a["axes"] is None else [r.axis(node, axis, x.rank) for axis in a["axes"]]
    given = scales if sizes is None else sizes
    if given is None or (scales is not None and sizes is not None) or len(given) != len(axes):
        r.refuse(node, f"it wants either scales or sizes for {len(axes)} axes")
    mode, where = a["mode"], a["coordinate_transformation_mode"]
    is_read = mode in ("nearest", "linear", "bilinear", "trilinear", "cubic")
    if not is_read or (where not in _PLACES and where != _CROPS):
        r.refuse(node, f"mode={mode!r} with coordinate_transformation_mode={where!r} is not read")
    if a.get("antialias") and mode == "nearest":
        r.refuse(node, "antialias=1 with mode='nearest' is not read")
    if sizes is not None:
        given = _kept_ratio(r, node, a.get("keep_aspect_ratio_policy", "stretch"), x, axes, sizes)
    wanted = dict(zip(axes, given))
    regions = _regions(r, node, a, axes)
    if sizes is None and None in x.shape:
        r.give(node, _of_any_size(r, node, x, a, wanted))
        return
    matrices: dict[int, np.ndarray] = {}
    for axis, number in wanted.items():
        size = x.shape[axis]
        if x.order[axis] == 0 or size is None:
            if regions[axis] != (0, 1) or (
                not isinstance(number, Images)
                and number not in (1, r.batch)
                and not (sizes is None and number == 1)
            ):
                r.refuse(node, "it resizes the axis of the images, or one whose size is open")
            continue
        scale, new = (
            (number / size, int(number)) if sizes is not None else (number, math.floor(size * number))
        )
        if not 1 <= new <= _LARGEST or size > _LARGEST or not scale > 0:
            r.refuse(node, f"from {size} to {new} pixels")
        # NOTE: runtimes round a part of a pixel differently, and some cut nothing off where no size changes.
        is_cut = regions[axis] != (0, 1)
        if (where in ("align_corners", _CROPS) and new != size * scale) or (is_cut and new == size):
            r.refuse(node, f"{where} to {size * scale} pixels means different things in different runtimes")
        if new != size or scale != 1:
            matrices[axis] = _matrix(r, node, a, int(size), new, scale, regions[axis])
    outside = float(a.get("extrapolation_value", 0))
    if outside and any(np.any(~matrix.any(axis=1)) for matrix in matrices.values()):
        x = Followed(r.operation(node, "subtract", x.tensor, outside, suffix="less"), x.order)
        x = _applied(r, node, x, mode, matrices)
        x = Followed(r.operation(node, "add", x.tensor, outside, suffix="outside"), x.order)
        r.give(node, x)
        return
    r.give(node, _applied(r, node, x, mode, matrices))


def _regions(r: Reader, node: Node, a: dict[str, Any], axes: list[int]) -> dict[int, tuple[float, float]]:
    """axis -> the part that is resized, as shares of its length: (0, 1) but for tf_crop_and_resize."""
    given = a.get("roi")
    if given is None:
        return dict.fromkeys(axes, (0.0, 1.0))
    if len(given) != 2 * len(axes) or not np.all(np.isfinite(given)) or np.abs(given).max() > _LARGEST:
        r.refuse(node, f"a region of {given[:16]} for {len(axes)} axes")
    return {axis: (given[i], given[i + len(axes)]) for i, axis in enumerate(axes)}


def _of_any_size(r: Reader, node: Node, x: Followed, a: dict[str, Any], scales: dict[int, float]) -> Followed:
    """Whole factors of maps whose sizes are open, where our layer means the same for every size."""
    factors = [scales.get(axis, 1.0) for axis in range(x.rank)]
    name = "nearest" if a["mode"] == "nearest" else "bilinear"
    fits = x.order == images_like(4) and factors[:2] == [1, 1] and a["mode"] != "cubic" and "roi" not in a
    fits = fits and all(f == int(f) and 1 <= f <= 64 for f in factors)
    if fits:
        pairs = [(size, int(f)) for size in (1, 4, 7) for f in factors[2:]]
        fits = all(
            np.allclose(_matrix(r, node, a, n, n * f, f), sampling_matrix(n, n * f, name, False), atol=1e-7)
            for n, f in pairs
        )
    if not fits:
        r.refuse(node, f"scales={factors} of an input whose sizes are open, {x.shape}")
    size = tuple(int(f) for f in factors[2:])
    return Followed(r.call(node, UpSampling2D, [x.tensor], size=size, interpolation=name), x.order)


def _kept_ratio(
    r: Reader, node: Node, policy: str, x: Followed, axes: list[int], sizes: list[int]
) -> list[int]:
    """Sizes that all come from one scale, at most or at least as large as those asked for."""
    if policy == "stretch":
        return sizes
    old = [x.shape[axis] for axis in axes]
    if any(isinstance(size, Images) for size in (*old, *sizes)) and 0 in [x.order[axis] for axis in axes]:
        inner = [i for i, axis in enumerate(axes) if x.order[axis]]
        kept = _kept_ratio(r, node, policy, x, [axes[i] for i in inner], [sizes[i] for i in inner])
        return [kept[inner.index(i)] if i in inner else 1 for i in range(len(axes))]
    if policy not in ("not_larger", "not_smaller") or not all(isinstance(size, int) for size in old):
        r.refuse(node, f"keep_aspect_ratio_policy={policy!r} for {x.shape}")
    ratios = [new / size for new, size in zip(sizes, old)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [math.floor(scale * size + 0.5) for size in old]


def _matrix(
    r: Reader,
    node: Node,
    a: dict[str, Any],
    old: int,
    new: int,
    scale: float,
    region: tuple[float, float] = (0.0, 1.0),
) -> np.ndarray:
    """The (new, old) matrix of an axis; rows of zeros are pixels outside of what is there."""
    pixels, where = np.arange(new, dtype=np.float64), a["coordinate_transformation_mode"]
    if where == _CROPS:
        places = _cropped(pixels, region, old, new)
    else:
        places = _PLACES[where](pixels, scale, old, new)
    is_outside = (places < 0) | (places > old - 1) if where == _CROPS else np.zeros(new, bool)
    if a["mode"] != "nearest":
        if a.get("antialias") and where == "pytorch_half_pixel" and new == 1:
            r.refuse(node, f"{where} to one pixel, antialiased, means different things in different runtimes")
        made = _interpolation(a, places, old, min(scale, 1.0) if a.get("antialias") else 1.0)
        made[is_outside] = 0
        return made
    if a["nearest_mode"] not in _ROUNDS:
        r.refuse(node, f"nearest_mode={a['nearest_mode']!r} is not known")
    if is_outside.any():
        r.refuse(node, f"{where} beyond the borders with mode='nearest'")
    return np.eye(old)[np.clip(_ROUNDS[a["nearest_mode"]](places), 0, old - 1).astype(int)]


def _cropped(pixels: np.ndarray, region: tuple[float, float], old: int, new: int) -> np.ndarray:
    start, end = region
    if new == 1:
        return np.array([(start + (end - start) / 2) * (old - 1)])
    return pixels * (end - start) * (old - 1) / (new - 1) + start * (old - 1)


def _interpolation(a: dict[str, Any], places: np.ndarray, old: int, squeezed: float) -> np.ndarray:
    """Rows of weights around `places`. Antialiased, the kernel is 1 / squeezed times as wide."""
    is_cubic = a["mode"] == "cubic"
    reach = math.ceil((2 if is_cubic else 1) / squeezed)
    first = np.floor(places).astype(int) - reach + 1
    made = np.zeros((len(places), old))
    for tap in range(2 * reach):
        distance = np.abs(places - (first + tap)) * squeezed
        weights = _cubic(distance, a["cubic_coeff_a"]) if is_cubic else np.maximum(1 - distance, 0)
        if a.get("exclude_outside"):
            weights = np.where((first + tap < 0) | (first + tap >= old), 0, weights)
        np.add.at(made, (np.arange(len(places)), np.clip(first + tap, 0, old - 1)), weights)
    if a.get("exclude_outside") or a.get("antialias"):
        made /= made.sum(axis=1, keepdims=True)
    return made


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    """Keys's kernel."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _applied(r: Reader, node: Node, x: Followed, mode: str, matrices: dict[int, np.ndarray]) -> Followed:
    """UpSampling or ops.resize where these have the same matrices, else one step on each axis."""
    if not matrices:
        return x
    found = _as_layer(r, node, x, mode, matrices)
    if found is not None:
        return found
    y = x.tensor
    for axis, matrix in matrices.items():
        own = x.order[axis]
        if mode == "nearest":
            pixels = matrix.argmax(axis=1).astype(np.int32)
            y = r.operation(node, "take", y, pixels, axis=own)
            continue
        last = x.rank - 1
        y = r.operation(node, "moveaxis", y, own, last, suffix="moved") if own != last else y
        y = r.operation(node, "matmul", y, matrix.T.astype(r.dtype))
        y = r.operation(node, "moveaxis", y, last, own, suffix="back") if own != last else y
    return Followed(y, x.order)


def _as_layer(
    r: Reader, node: Node, x: Followed, mode: str, matrices: dict[int, np.ndarray]
) -> Followed | None:
    order = images_like(x.rank)
    if not 3 <= x.rank <= 5 or x.order != order or 1 in matrices or None in x.shape[2:]:
        return None
    old = x.shape[2:]
    new = [len(matrices[axis]) if axis in matrices else size for axis, size in enumerate(old, start=2)]
    name = "nearest" if mode == "nearest" else "bilinear"
    is_same = mode != "cubic" and all(
        np.allclose(matrix, sampling_matrix(old[axis - 2], len(matrix), name, False), rtol=0, atol=1e-7)
        for axis, matrix in matrices.items()
    )
    if not is_same:
        return None
    if all(b % a == 0 for a, b in zip(old, new)) and (mode == "nearest" or x.rank == 4):
        factors = tuple(b // a for a, b in zip(old, new))
        if x.rank == 4:
            y = r.call(node, UpSampling2D, [x.tensor], size=factors, interpolation=name)
        else:
            cls, size = (UpSampling1D, factors[0]) if x.rank == 3 else (UpSampling3D, factors)
            y = r.call(node, cls, [x.tensor], size=size)
        return Followed(y, order)
    if x.rank != 4:
        return None
    return Followed(r.operation(node, "resize", x.tensor, tuple(new), interpolation=name), order)


RULES = {"Resize": resize, "Upsample": upsample}
