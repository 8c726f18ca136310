"""What kernels that reduce or copy have in common: tensors seen as few axes, and loops over rows and lanes.

A reduction over some axes of an image is seen as (outer, rows, channels, run): `outer` and `channels` are
kept, `rows` and `run` are summed. Either `run` is 1 and lanes are channels, or lanes lie along the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import images


@dataclass(frozen=True)
class View:
    """Axes of one image, merged: kept, reduced, kept, reduced.

    Attributes:
        outer, channels: kept numbers; rows, run: reduced ones. The order in memory is (outer, rows,
            channels, run).
    """

    outer: int
    rows: int
    channels: int
    run: int

    @property
    def kept(self) -> int:
        return self.outer * self.channels

    @property
    def reduced(self) -> int:
        return self.rows * self.run

    @property
    def size(self) -> int:
        return self.kept * self.reduced


def find_view(sizes: Sequence[int], axes: Sequence[int]) -> View | None:
    """The view of an image of these sizes when `axes` are reduced; None if it alternates more often."""
    merged: list[tuple[bool, int]] = []
    for axis, size in enumerate(sizes):
        is_reduced = axis in axes
        if size == 1:
            continue
        if merged and merged[-1][0] == is_reduced:
            merged[-1] = (is_reduced, merged[-1][1] * size)
        else:
            merged.append((is_reduced, size))
    pattern = [is_reduced for is_reduced, _ in merged]
    counts = [size for _, size in merged]
    places = _PLACES.get(tuple(pattern))
    if places is None:
        return None
    found = dict(zip(places, counts))
    return View(*(found.get(name, 1) for name in ("outer", "rows", "channels", "run")))


# Which of the merged axes are reduced -> what they are called.
_PLACES: dict[tuple[bool, ...], tuple[str, ...]] = {
    (): (),
    (False,): ("channels",),
    (True,): ("run",),
    (False, True): ("outer", "run"),
    (True, False): ("rows", "channels"),
    (False, True, False): ("outer", "rows", "channels"),
    (True, False, True): ("rows", "channels", "run"),
    (False, True, False, True): ("outer", "rows", "channels", "run"),
}


def over_outer(k: Kernel, view: View) -> Iterator[tuple[Index, Index]]:
    """Offsets in the images and in what is kept of them, for every outer index of every image."""
    inner = view.rows * view.channels * view.run
    with images(k, view.size) as (image, start), k.loop(0, view.outer) as outer:
        yield start + outer * inner, image * view.kept + outer * view.channels
