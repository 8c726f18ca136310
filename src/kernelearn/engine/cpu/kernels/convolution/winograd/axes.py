"""How one axis of a convolution is cut into tiles for minimal filtering.

A tile is a few outputs with the inputs that they read. With dilation d its pixels are d apart, and d
neighbouring tiles, the phases, lie between each other. With stride s the taps of each residue are a window
of their own over every s-th input; in an input gradient every residue of the outputs has taps of its own.
Tiles at the border reach over it; those that do so in the same way share their code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from kernelearn.engine.cpu.kernels.convolution.geometry import TapAxis
from kernelearn.engine.cpu.kernels.convolution.winograd.filters import (
    Filter,
    Piece,
    nested,
    plain,
    summed,
    three_taps,
    two_taps,
)

# Products for four outputs, by taps in one piece: those of 2 and 3 are two pieces of two outputs each.
COSTS = {1: 4, 2: 6, 3: 8, 4: 9, 6: 12}


@dataclass(frozen=True)
class Run:
    """Taps that meet neighbours among every `step`-th input of a tile.

    Attributes:
        start: input that the first of the taps meets for the first of the outputs.
        taps: their numbers in the kernel; outputs: numbers of the outputs in the tile.
    """

    start: int
    step: int
    taps: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """The taps of an axis and the tile that they are filtered in.

    Attributes:
        taps: of the kernel; runs: of the taps.
        inputs, outputs: of a tile.
    """

    taps: int
    runs: tuple[Run, ...]
    inputs: int
    outputs: int

    @property
    def filter(self) -> Filter:
        return _filter(self)

    @property
    def products(self) -> int:
        """Of a sum tap by tap for all outputs of a tile."""
        return sum(len(run.taps) * len(run.outputs) for run in self.runs)


@cache
def _filter(window: Window) -> Filter:
    pieces = [piece for run in window.runs for piece in _pieces(run)]
    return summed(pieces, window.inputs, window.taps, window.outputs)


@dataclass(frozen=True)
class Span:
    """Tiles that reach over the border in the same way.

    Attributes:
        first, last: numbers of the tiles, both included.
        inside: which of the tile's inputs lie in the image; kept: which of its outputs exist.
    """

    first: int
    last: int
    inside: tuple[bool, ...]
    kept: tuple[bool, ...]


@dataclass(frozen=True)
class Alike:
    """Neighbouring tiles that share their code.

    Attributes:
        first, last: numbers of the tiles, both included.
        there: which pixels of such a tile, inputs or outputs, the image has.
    """

    first: int
    last: int
    there: tuple[bool, ...]


@dataclass(frozen=True)
class Axis:
    """The tiles of an axis.

    Attributes:
        size, count: inputs and outputs of an image.
        reads, writes: the inputs and outputs of the first tile.
        read_step, write_step: from a tile to the next one of its phase.
        phases: tiles that lie between each other, one pixel apart.
    """

    size: int
    count: int
    window: Window
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    read_step: int
    write_step: int
    phases: int

    @property
    def filter(self) -> Filter:
        return self.window.filter

    @property
    def spans(self) -> tuple[Span, ...]:
        return _spans(self)

    @property
    def inputs(self) -> tuple[Alike, ...]:
        """Tiles by the inputs that lie in the image."""
        return _joined([(span, span.inside) for span in self.spans])

    @property
    def outputs(self) -> tuple[Alike, ...]:
        """Tiles by the outputs that exist."""
        return _joined([(span, span.kept) for span in self.spans])

    @property
    def is_dense(self) -> bool:
        """Whether the window moves by single pixels."""
        return len(self.window.runs) == 1 and self.window.runs[0].step == 1

    @property
    def steps(self) -> int:
        """Pixels that the window moves by; 0 in an input gradient by steps, where outputs differ by taps."""
        runs = self.window.runs
        return len(runs) if all(run.outputs == runs[0].outputs for run in runs) else 0

    @property
    def tiles(self) -> int:
        return self.spans[-1].last + 1

    @property
    def pairs(self) -> tuple[int, ...]:
        """For every tap, how many outputs it meets an input for."""
        found = [0] * self.window.taps
        for span in self.spans:
            for run in self.window.runs:
                for i, tap in enumerate(run.taps):
                    met = sum(
                        span.inside[run.start + run.step * (i + a)] and span.kept[output]
                        for a, output in enumerate(run.outputs)
                    )
                    found[tap] += met * (span.last + 1 - span.first)
        return tuple(found)


@cache
def _spans(axis: Axis) -> tuple[Span, ...]:
    found: list[Span] = []
    tile = 0
    while (start := tile // axis.phases * axis.write_step + tile % axis.phases) < axis.count:
        first = tile // axis.phases * axis.read_step + tile % axis.phases
        inside = tuple(0 <= first + i < axis.size for i in axis.reads)
        kept = tuple(start + i < axis.count for i in axis.writes)
        if found and (found[-1].inside, found[-1].kept) == (inside, kept):
            found[-1] = replace(found[-1], last=tile)
        else:
            found.append(Span(tile, tile, inside, kept))
        tile += 1
    return tuple(found)


def _joined(spans: Sequence[tuple[Span, tuple[bool, ...]]]) -> tuple[Alike, ...]:
    """Spans that follow each other joined where the same pixels are there."""
    found: list[Alike] = []
    for span, there in spans:
        if found and found[-1].there == there:
            found[-1] = replace(found[-1], last=span.last)
        else:
            found.append(Alike(span.first, span.last, there))
    return tuple(found)


def _pieces(run: Run) -> list[Piece]:
    """The cheapest blocks for so many taps and outputs."""
    pieces, first, outputs = [], 0, len(run.outputs)
    for taps in _cut(len(run.taps)) if outputs == 4 else _thirds(len(run.taps)):
        numbers = run.taps[first : first + taps]
        parts = 2 if outputs == 4 and taps in (2, 3) else 1
        each = outputs // parts
        block = _block(taps, each)
        for part in range(parts):
            inputs = (run.start + run.step * (first + part * each + i) for i in range(block.inputs.size))
            written = run.outputs[part * each : (part + 1) * each]
            pieces.append(Piece(block, tuple(inputs), numbers, written))
        first += taps
    return pieces


def _block(taps: int, outputs: int) -> Filter:
    if taps == 1:
        return plain(outputs)
    if outputs == 4:
        return nested(taps)
    return two_taps() if taps == 2 else three_taps()


def _thirds(taps: int) -> list[int]:
    """For two outputs: pieces of three taps, and what remains."""
    return [3] * (taps // 3) + ([taps % 3] if taps % 3 else [])


@cache
def _cut(taps: int) -> tuple[int, ...]:
    """For four outputs: the pieces with the fewest products; the fewest pieces of these."""
    if not taps:
        return ()
    found = ((size, *_cut(taps - size)) for size in COSTS if size <= taps)
    return min(found, key=lambda sizes: (sum(COSTS[size] for size in sizes), len(sizes)))


def cut_axis(classes: Sequence[TapAxis], kernel: int, count: int) -> Axis | None:
    """The tiles of an axis of a convolution; None where its taps are no windows.

    Args:
        classes: the taps, for every residue of the output's position; count: all outputs.
    """
    taps = [sorted(c.taps) for c in classes]
    if not all(taps):
        return None
    shifts = [[d for d, _ in found] for found in taps]
    gaps = {b - a for row in shifts for a, b in pairwise(row)} or {1}
    stride, dilation, first = classes[0].in_step, max(gaps), min(map(min, shifts))
    if len(gaps) > 1 or (dilation > 1 and (stride > 1 or len(classes) > 1)):
        return None
    longest = max(-(-len(row) // stride) for row in shifts)
    outputs = 1 if longest == 1 else 2 if longest <= 3 else 4
    runs, writes = [], []
    for number, (found, axis) in enumerate(zip(taps, classes)):
        own = tuple(range(number * outputs, (number + 1) * outputs))
        writes += [axis.out_start + i * axis.out_step * dilation for i in range(outputs)]
        numbers = tuple(t for _, t in found)
        for q in range(min(stride, len(found))):
            runs.append(Run(found[0][0] - first + q, stride, numbers[q::stride], own))
    last = max(r.start + r.step * (len(r.taps) + outputs - 2) for r in runs)
    reads = tuple(first + i * dilation for i in range(last + 1))
    steps = (outputs * stride * dilation, outputs * classes[0].out_step * dilation)
    window = Window(kernel, tuple(runs), len(reads), len(writes))
    return Axis(classes[0].size, count, window, reads, tuple(writes), *steps, dilation)
