"""Examples of the operators that change images: flip, crop, contrast, warp, resize, unstandardize."""

import itertools

import numpy as np

from kernelearn.engine.reference.images.augmentation import INDEX_RULES, INTERPOLATIONS, affine_map
from kernelearn.engine.reference.shaping import RESIZE_WINDOWS
from tests.engine.helpers import Case

_RNG = np.random.default_rng(21)
X = _RNG.normal(size=(3, 5, 4, 2)).astype("float32").astype("float64")
DRAW = np.array([[0.1, 0.9], [0.6, 0.3], [0.95, 0.05]])


def _flipped(x, draw, axes):
    y = x.copy()
    for i, row in enumerate(draw):
        for share, axis in zip(row, axes):
            if share <= 0.5:
                y[i] = np.flip(y[i], axis - 1)
    return y


def _cropped(x, draw, size):
    rows = [int(np.floor(d * (n - s + 1))) for d, n, s in zip(draw[:, 0], [x.shape[1]] * 3, [size[0]] * 3)]
    columns = [int(np.floor(d * (x.shape[2] - size[1] + 1))) for d in draw[:, 1]]
    return np.stack([x[i, r : r + size[0], c : c + size[1]] for i, (r, c) in enumerate(zip(rows, columns))])


def _stretched(x, draw, low, high, value_range):
    y = np.empty_like(x)
    for i, c in itertools.product(range(len(x)), range(x.shape[-1])):
        mean = x[i, :, :, c].mean()
        factor = low + draw[i, 0] * (high - low)
        y[i, :, :, c] = np.clip((x[i, :, :, c] - mean) * factor + mean, *value_range)
    return y


def _pixel(image, row, column, fill_mode, fill_value):
    """A pixel of an image that goes on forever as the fill mode says, the rules written as padded arrays."""
    height, width = image.shape[:2]
    if fill_mode == "constant":
        inside = 0 <= row < height and 0 <= column < width
        return image[row, column] if inside else np.full(image.shape[-1], fill_value)
    mode = {"nearest": "edge", "wrap": "wrap", "reflect": "symmetric"}[fill_mode]
    margin = 40
    return np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode=mode)[
        row + margin, column + margin
    ]


def _warped(x, maps, fill_mode, fill_value, interpolation):
    y = np.zeros_like(x)
    for n, p, q in np.ndindex(x.shape[:3]):
        v, u = maps[n] @ [p, q, 1]
        if interpolation == "nearest":
            row, column = (int(np.sign(a) * np.floor(abs(a) + 0.5)) for a in (v, u))
            y[n, p, q] = _pixel(x[n], row, column, fill_mode, fill_value)
            continue
        top, left = int(np.floor(v)), int(np.floor(u))
        for i, j in itertools.product((0, 1), (0, 1)):
            weight = (1 - abs(v - top - i)) * (1 - abs(u - left - j))
            y[n, p, q] += weight * _pixel(x[n], top + i, left + j, fill_mode, fill_value)
    return y


def _map(x, draw, kind, ranges):
    """By what the parameters mean: where the middle, and a point one to the right of it, are read."""
    middle = np.array([(x.shape[1] - 1) / 2, (x.shape[2] - 1) / 2])
    maps = []
    for row in draw:
        values = [low + d * (high - low) for d, (low, high) in zip(row, ranges)]
        if kind == "translation":
            linear, fixed = np.eye(2), middle - np.array(values) * x.shape[1:3]
        elif kind == "zoom":
            linear, fixed = np.diag([values[0], values[-1]]), middle
        else:
            turn = 2 * np.pi * values[0]
            linear, fixed = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]), middle
        maps.append(np.column_stack([linear, fixed - linear @ middle]))
    return np.array(maps)


_KINDS = {
    "rotation": ((-0.3, 0.4),),
    "translation": ((-0.4, 0.7), (-0.5, 0.2)),
    "zoom": ((0.5, 1.8), (0.7, 1.3)),
}


def _warps():
    for (kind, ranges), fill_mode, interpolation in itertools.product(
        _KINDS.items(), INDEX_RULES, INTERPOLATIONS
    ):
        maps = (
            affine_map(X, DRAW[:, : len(ranges)], kind=kind, ranges=ranges)
            .astype("float32")
            .astype("float64")
        )
        attrs = {"fill_mode": fill_mode, "fill_value": 0.0, "interpolation": interpolation}
        label = f"{kind}-{fill_mode}-{interpolation}"
        yield Case("warp", (X, maps), attrs, _warped, smooth=(0,), label=label)
        if fill_mode == "constant":
            filled = {**attrs, "fill_value": 0.75}
            yield Case("warp", (X, maps), filled, _warped, smooth=(0,), label=f"{label}-filled")
        yield Case("warp_grad", (X, maps), attrs, smooth=(0,), label=label)


def _resizes():
    for method, size in itertools.product(RESIZE_WINDOWS, ((7, 9), (3, 2), (5, 4), (1, 11))):
        for antialias in (False, True):
            attrs = {"size": size, "method": method, "antialias": antialias}
            label = f"{method}-{size[0]}x{size[1]}{'-antialias' if antialias else ''}"
            yield Case("resize", (X,), attrs, smooth=(0,), label=label)


_CONTRAST = {"low": 0.5, "high": 1.7, "value_range": (-0.8, 0.9)}
_COLUMN = DRAW[:, :1]
_MEAN, _VARIANCE = _RNG.normal(size=2), np.array([0.5, 2.0])

IMAGES = [
    Case("flip", (X, DRAW), {"axes": (1, 2)}, _flipped, terms=1, smooth=(0,)),
    Case("flip", (X, _COLUMN), {"axes": (2,)}, _flipped, terms=1, smooth=(0,), label="horizontal"),
    Case("crop", (X, DRAW), {"size": (3, 2)}, _cropped, terms=1, smooth=(0,)),
    Case("crop", (X, DRAW), {"size": (5, 4)}, lambda x, draw, size: x, terms=1, smooth=(0,), label="whole"),
    Case("crop_grad", (X[:, :3, :2], DRAW), {"size": (3, 2), "input_size": (5, 4)}, terms=1, smooth=(0,)),
    Case("contrast", (X, _COLUMN), _CONTRAST, _stretched, smooth=(0,)),
    Case("contrast_grad", (X[::-1], X, _COLUMN), _CONTRAST),
    *[
        Case("affine_map", (X, DRAW[:, : len(r)]), {"kind": kind, "ranges": r}, _map, label=kind)
        for kind, r in _KINDS.items()
    ],
    Case("affine_map", (X, _COLUMN), {"kind": "zoom", "ranges": ((0.5, 1.5),)}, _map, label="zoom-both"),
    *_warps(),
    *_resizes(),
    Case("resize_grad", (X,), {"size": (5, 4), "input_size": (8, 3), "method": "bilinear"}, smooth=(0,)),
    Case(
        "unstandardize",
        (X, _MEAN, _VARIANCE),
        {"epsilon": 1e-3},
        lambda x, m, v, epsilon: x * (v + 1e-3) ** 0.5 + m,
        smooth=(0,),
    ),
    Case(
        "unstandardize_grad",
        (X, _VARIANCE),
        {"epsilon": 1e-3},
        lambda g, v, epsilon: g * (v + 1e-3) ** 0.5,
        smooth=(0,),
    ),
]
