"""Enlarging and shrinking maps: PyTorch's rule of places, axis by axis.

Nearest takes entries. Every other mode is, along each axis, a product with a matrix that PyTorch itself
gives: what it makes of the unit vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn import layers
from kernelearn._optional import require
from kernelearn.conversion.torch.placed import Placed
from kernelearn.conversion.torch.reading.network import Network
from kernelearn.conversion.torch.reading.table import Call, reads

_WHAT = "reading modules of PyTorch"
UPSAMPLING = {1: layers.UpSampling1D, 2: layers.UpSampling2D, 3: layers.UpSampling3D}
_NEAREST = {"upsample_nearest": "nearest", "_upsample_nearest_exact": "nearest-exact"}


def _scales(call: Call, rank: int) -> list[float | None]:
    """The factors that PyTorch computes places with, where the caller gave them; else it divides sizes."""
    given = call.get("scale_factors")
    return [None] * rank if given is None else [float(factor) for factor in given]


@reads(*(f"{name}{rank}d.vec" for name in _NEAREST for rank in (1, 2, 3)))
def nearest(net: Network, call: Call) -> Placed:
    x = net.images(call, call.placed("input"))
    sizes, outputs = x.shape[2:], call.shapes[0][2:]
    mode = next(mode for name, mode in _NEAREST.items() if f"aten.{name}" in call.operator)
    chosen = [_entries(*axis, mode) for axis in zip(sizes, outputs, _scales(call, len(sizes)))]
    factors = [m // n for n, m in zip(sizes, outputs)]
    if all(np.array_equal(c, np.repeat(np.arange(n), f)) for c, n, f in zip(chosen, sizes, factors)):
        size = factors[0] if len(sizes) == 1 else tuple(factors)
        y = net.layer(call, UPSAMPLING[len(sizes)], x.tensor, size=size)
        return Placed(y, call.shapes[0], x.order)
    y = x.tensor
    for axis, places in enumerate(chosen, start=1):
        y = net.op(call, "take", y, places, axis=axis, suffix=f".axis{axis}")
    return Placed(y, call.shapes[0], x.order)


def _entries(size: int, output: int, scale: float | None, mode: str) -> Any:
    """Which entries PyTorch takes along an axis."""
    torch = require("torch", _WHAT)
    row = torch.arange(size, dtype=torch.float64).reshape(1, 1, size)
    return _resized(row, output, scale, mode).reshape(-1).round().long().numpy()


def _resized(rows: Any, output: int, scale: float | None, mode: str, **given: Any) -> Any:
    functional = require("torch.nn.functional", _WHAT)
    how = {"size": output} if scale is None else {"scale_factor": scale, "recompute_scale_factor": False}
    return functional.interpolate(rows, mode=mode, **how, **given)


@reads(
    "upsample_linear1d.vec", "upsample_bilinear2d.vec", "upsample_trilinear3d.vec", "upsample_bicubic2d.vec"
)
@reads("_upsample_bilinear2d_aa.vec", "_upsample_bicubic2d_aa.vec")
def linear(net: Network, call: Call) -> Placed:
    x = net.images(call, call.placed("input"))
    sizes, outputs = x.shape[2:], call.shapes[0][2:]
    is_plain = "linear" in call.operator and "_aa" not in call.operator and not call["align_corners"]
    factors = [m // n for n, m in zip(sizes, outputs)]
    scales = _scales(call, len(sizes))
    is_whole = all(n * f == m and s in (None, f) for n, m, f, s in zip(sizes, outputs, factors, scales))
    if is_plain and is_whole and len(sizes) == 2:
        y = net.layer(call, layers.UpSampling2D, x.tensor, size=tuple(factors), interpolation="bilinear")
        return Placed(y, call.shapes[0], x.order)
    y = x.tensor
    letters = "nabc"[: len(sizes) + 1] + "z"
    for axis, one in enumerate(zip(sizes, outputs, scales), start=1):
        result = letters[:axis] + "y" + letters[axis + 1 :]
        matrix = _matrix(call, *one).astype(net.dtype)
        y = net.op(call, "einsum", f"{letters},y{letters[axis]}->{result}", y, matrix, suffix=f".axis{axis}")
    return Placed(y, call.shapes[0], x.order)


def _matrix(call: Call, size: int, output: int, scale: float | None) -> Any:
    """(output, size): what PyTorch makes of the unit vectors."""
    torch = require("torch", _WHAT)
    unit = torch.eye(size, dtype=torch.float64)
    if "linear" in call.operator and "_aa" not in call.operator:
        made = _resized(unit.unsqueeze(1), output, scale, "linear", align_corners=bool(call["align_corners"]))
        return made.squeeze(1).T.numpy()
    mode = "bicubic" if "bicubic" in call.operator else "bilinear"
    given = {"align_corners": bool(call["align_corners"]), "antialias": "_aa" in call.operator}
    # NOTE: along rows. Columns of single pixels come out wrong in PyTorch 2.13 where they are antialiased.
    rows, functional = unit.reshape(size, 1, 1, size), require("torch.nn.functional", _WHAT)
    how = (
        {"size": (1, output)}
        if scale is None
        else {"scale_factor": (1.0, scale), "recompute_scale_factor": False}
    )
    made = functional.interpolate(rows, mode=mode, **how, **given)
    return made.reshape(size, output).T.numpy()
