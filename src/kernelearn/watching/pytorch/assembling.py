"""From the passes of a step to what is seen of it: uses joined over passes, gradients scaled as in the step.

Several passes before one update (accumulated gradients, real and false images of a GAN) are one batch, one
behind the other. The gradient that reaches the optimiser may be that of the passes times a number: a scaler
of mixed precision, clipping by the norm, an average; the factors are then those times the same number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kernelearn.watching.pytorch.graph import Pass, Use
from kernelearn.watching.pytorch.names import Names
from kernelearn.watching.seen import Array, SeenPart, SeenUse

# Relative difference to a multiple that is not rounding.
_CLEAN = 1e-4


@dataclass
class Assembled:
    """The uses of a step.

    Attributes:
        uses: path of a kernel -> its uses.
        scales: path -> what the gradient was multiplied by, where it is not 1.
        mixed: paths whose gradient was changed otherwise: other processes, noise, clipping by value.
        unmatched: paths whose inputs have no rows for the images.
    """

    uses: dict[str, SeenUse] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    mixed: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)


def assemble(
    passes: Sequence[Pass], names: Names, raw: Mapping[int, Array], final: Mapping[str, Array], share: float
) -> Assembled:
    """Join the uses of the passes of a step.

    Args:
        raw: id of a parameter -> its gradient as the backward passes left it, in its own layout here.
        final: path -> gradient as it reached the optimiser.
        share: of the gradient that is this process's own: 1 / processes.
    """
    found = Assembled()
    by_path: dict[str, list[list[Use]]] = {}
    for number, seen in enumerate(passes):
        for use in seen.uses:
            path = names.path(use.weight)
            if path is not None and use.x is not None and path in final:
                by_path.setdefault(path, [[] for _ in passes])[number].append(use)
    for path, uses in by_path.items():
        joined = _joined(uses, [seen.rows for seen in passes])
        if joined is None:
            found.unmatched.append(path)
            continue
        found.uses[path] = _scaled(path, joined, names, raw, final, share, found)
    return found


@dataclass
class _Joined:
    """One use, over all passes."""

    first: Use
    x: Array
    delta: Array


def _joined(passes: Sequence[Sequence[Use]], rows: Sequence[int]) -> list[_Joined] | None:
    """Uses number i of all passes, one behind the other; None where they cannot be split by images."""
    parts = []
    for index in range(max(map(len, passes))):
        first = next(uses[index] for uses in passes if len(uses) > index)
        here = (uses[index] if len(uses) > index else None for uses in passes)
        pairs = [_by_image(use, count, first) for use, count in zip(here, rows)]
        if any(pair is None for pair in pairs):
            return None
        known = [pair for pair in pairs if pair is not None]
        if len({(x.shape[1:], delta.shape[1:]) for x, delta in known}) > 1:
            return None
        x, delta = (np.concatenate([pair[side] for pair in known]) for side in (0, 1))
        parts.append(_Joined(first, x, delta))
    return parts


def _by_image(use: Use | None, rows: int, like: Use) -> tuple[Array, Array] | None:
    """Input and gradient with one row an image: positions of a dense layer go to a second axis."""
    if use is None:
        source = like
        assert source.x is not None and source.delta is not None
        shapes = [_image_shape(a, rows) for a in (source.x, source.delta)]
        return np.zeros((rows, *shapes[0]), np.float32), np.zeros((rows, *shapes[1]), np.float32)
    assert use.x is not None and use.delta is not None
    if use.kind != "dense":
        return (use.x, use.delta) if len(use.x) == rows else None
    # One of them may have its positions already: an input that was kept on its way into a module.
    places = {a.shape[:-1] for a in (use.x, use.delta)}
    if places == {(rows,)}:
        return use.x, use.delta
    if not rows or any(place[0] % rows for place in places):
        return None
    x, delta = (a.reshape(rows, -1, a.shape[-1]) for a in (use.x, use.delta))
    return x, delta


def _image_shape(array: Array, rows: int) -> tuple[int, ...]:
    if len(array) == rows or array.ndim != 2:
        return array.shape[1:]
    return (len(array) // max(rows, 1), array.shape[1])


def _scaled(
    path: str,
    parts: Sequence[_Joined],
    names: Names,
    raw: Mapping[int, Array],
    final: Mapping[str, Array],
    share: float,
    found: Assembled,
) -> SeenUse:
    first = parts[0].first
    before, after = raw.get(id(first.weight)), final[path]
    scale, own = share, None
    if before is not None:
        scale, is_clean = _ratio(before, after)
        if not is_clean:
            scale, own = share, np.asarray(before * share, np.float32).reshape(first.kernel_shape)
            found.mixed.append(path)
        elif abs(scale - 1) > _CLEAN:
            found.scales[path] = scale
    own, rows = own if len(parts) == 1 else None, names.rows(first.weight)
    seen = tuple(
        SeenPart(
            part.first.kind,
            part.first.attrs,
            part.x if rows is None else part.x[..., rows],
            part.delta * np.float32(scale),
            own,
        )
        for part in parts
    )
    return SeenUse(first.kernel_shape, names.path(first.bias) if first.bias is not None else None, seen)


def _ratio(before: Array, after: Array) -> tuple[float, bool]:
    """(the number that makes one gradient the other, whether it does)."""
    a, b = before.astype(np.float64).ravel(), after.astype(np.float64).ravel()
    size = float(a @ a)
    if not size or not np.isfinite(size):
        return 1.0, not b.any()
    scale = float(a @ b) / size
    return scale, bool(np.abs(b - scale * a).max() <= _CLEAN * max(np.abs(b).max(), 1e-30))
