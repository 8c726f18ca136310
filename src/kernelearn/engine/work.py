"""What an engine does for each operation of a program, as rows to print: which kernel, how split, how much.

`executable.work(images)` gives the rows of a run on so many images, `executable.explain(images)` the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kernelearn.engine.program import PHASES, Buffer, Operation, Program

COLUMNS = ("layer", "what", "tasks", "FLOPs", "bytes")
ESTIMATED = ("at best", "limit", "of peak")
# Said below every table that has the columns ESTIMATED.
ESTIMATE_NOTE = (
    "at best, limit, of peak: estimates by the roofline model from FLOPs, bytes, tasks and the peaks; "
    "no kernel was timed. The peak is that of multiply-adds in float32; minimal filtering and products of "
    "bfloat16 go beyond it. `kernelearn bench --layers NET` measures."
)


@dataclass(frozen=True)
class Estimate:
    """What a call could do at best.

    Attributes:
        seconds: the least time.
        limit: "arithmetic" or "memory": which of the two takes so long.
        share: FLOPs in that time as a share of the machine's peak in float32: 1 for 100 %. FLOPs are those
            of the operation as it is defined, so a kernel that needs fewer multiplications, or multiplies
            bfloat16 in hardware, goes beyond 1.
    """

    seconds: float
    limit: str
    share: float


@dataclass(frozen=True)
class Work:
    """One kernel call, or one operation of the reference engine.

    Attributes:
        phase: "forward", "backward" or "update".
        layers: layers whose operations it does, the first one first; () where no layer declared them.
        operators: what it computes, in order.
        kernel: how, such as the register tile; "" where there is nothing to say.
        tasks: into how many independent tasks it is divided; 1 for the reference engine.
        flops: floating point operations of the run; None if not counted.
        bytes: read and written, each buffer once.
        is_native: False for the reference engine.
        note: why not native, if so.
        saving: FLOPs that the kernel does in the time of one: 2.25 with Winograd's transforms, 2 with
            instructions for pairs of bfloat16 numbers, 8 with matrix tiles of them.
        estimate: what it could do at best; None where that is not known.
    """

    phase: str
    layers: tuple[str, ...]
    operators: tuple[str, ...]
    kernel: str
    tasks: int
    flops: float | None
    bytes: int
    is_native: bool
    note: str = ""
    saving: float = 1.0
    estimate: Estimate | None = None

    @property
    def text(self) -> str:
        """What and how: "conv + bias_add (tile 1x9x2)"."""
        how = self.kernel if self.is_native else self.note
        what = " + ".join(self.operators)
        return f"{what} ({how})" if how and how != what else what


def parts_of(operation: Operation) -> tuple[Operation, ...]:
    """The operations that a fused one stands for; else itself."""
    body = operation.attrs.get("body")
    return body.operations if operation.operator == "fused" and body is not None else (operation,)


def layers_of(operation: Operation) -> tuple[str, ...]:
    """The layers of an operation's parts."""
    return tuple(dict.fromkeys(part.layer for part in parts_of(operation) if part.layer))


def byte_count(buffers: Iterable[Buffer], images: int) -> int:
    """Bytes of buffers for so many images."""
    return sum(
        math.prod(images if size is None else size for size in buffer.shape) * item_size(buffer.dtype)
        for buffer in buffers
    )


def item_size(dtype: str) -> int:
    """Bytes of one entry."""
    import numpy as np

    return np.dtype(dtype).itemsize


def reference_work(program: Program, operation: Operation, images: int, note: str = "") -> Work:
    """The row of an operation that the reference engine runs."""
    names = dict.fromkeys((*operation.inputs, *operation.outputs))
    return Work(
        phase=operation.phase,
        layers=layers_of(operation),
        operators=tuple(part.operator for part in parts_of(operation)),
        kernel="",
        tasks=1,
        flops=None,
        bytes=byte_count((program.buffers[n] for n in names if n in program.buffers), images),
        is_native=False,
        note=note,
    )


def explain(title: str, rows: Sequence[Work], moved: int = 0, least: int = 0) -> str:
    """The rows as text, grouped by phase, with a line of totals.

    Args:
        moved, least: bytes to and from memory, and those at least, where that is known.
    """
    lines = [title]
    is_estimated = any(row.estimate for row in rows)
    head = (*COLUMNS, *ESTIMATED) if is_estimated else COLUMNS
    for phase in PHASES:
        found = [row for row in rows if row.phase == phase]
        if found:
            lines += ["", f"{phase}: {totals(found)}"]
            lines += table(head, [cells(row)[: len(head)] for row in found], "llrrrrlr"[: len(head)])
    lines += ["", traffic_text(rows, moved, least)] if least else []
    elsewhere = [row for row in rows if not row.is_native]
    if elsewhere and len(elsewhere) < len(rows):
        names = dict.fromkeys(name for row in elsewhere for name in row.operators)
        lines += ["", f"on the reference engine: {', '.join(names)}"]
    if is_estimated:
        lines += ["", ESTIMATE_NOTE]
    return "\n".join(lines)


def cells(row: Work) -> list[str]:
    """A row's columns, those of its estimate last."""
    flops = "-" if row.flops is None else scaled(row.flops)
    what = row.text if row.is_native else f"{row.text} [reference]"
    estimated = estimate_cells([row])
    return [", ".join(row.layers), what, str(row.tasks), flops, scaled(row.bytes), *estimated]


def totals(rows: Sequence[Work]) -> str:
    """Kernels, arithmetic and memory traffic of some rows, and what they take at best."""
    native = sum(row.is_native for row in rows)
    flops = sum(row.flops or 0.0 for row in rows)
    reference = f", {len(rows) - native} on the reference engine" if native < len(rows) else ""
    text = f"{native} kernel calls{reference}, {scaled(flops)}FLOP, {scaled(sum(r.bytes for r in rows))}B"
    if not any(row.estimate for row in rows):
        return text
    seconds, _, share = estimate_cells(rows)
    return f"{text}, at best {seconds} and {share} of the peak"


def traffic_text(rows: Sequence[Work], moved: int, least: int) -> str:
    """What kernels use, what of that comes from memory or goes there, and the least: "... (1.50 times)"."""
    kernels = sum(row.bytes for row in rows)
    return (
        f"bytes: {scaled(kernels)}B used by kernels, {scaled(moved)}B of them from and to memory, "
        f"{scaled(least)}B at least ({moved / least:.2f} times), if all between products were done on the way"
    )


def estimate_cells(rows: Sequence[Work]) -> list[str]:
    """Time at best, what limits most of it, share of the peak, of rows one after the other; "-" for none."""
    found = [row.estimate for row in rows if row.estimate is not None]
    seconds = sum(estimate.seconds for estimate in found)
    if not seconds:
        return ["-"] * len(ESTIMATED)
    longest: dict[str, float] = {}
    for estimate in found:
        longest[estimate.limit] = longest.get(estimate.limit, 0.0) + estimate.seconds
    share = sum(estimate.share * estimate.seconds for estimate in found) / seconds
    return [duration(seconds), max(longest, key=lambda limit: longest[limit]), f"{100 * share:.0f} %"]


def duration(seconds: float) -> str:
    """Three digits, and no less than a tenth of a microsecond: 0.00123 -> "1.23 ms"."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= 0.9995 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1e6 * seconds:.1f} us"


def scaled(number: float) -> str:
    """Three digits and a decimal prefix: 1234567 -> "1.23 M"."""
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= 0.9995 * size:
            return f"{number / size:.3g} {prefix}"
    return f"{number:.0f} "


def table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str, indent: str = "  ") -> list[str]:
    """Columns as wide as their widest cell; `align` holds l or r per column."""
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]
    place: Mapping[str, Callable[[str, int], str]] = {"l": str.ljust, "r": str.rjust}
    return [
        indent + "  ".join(place[a](cell, w) for cell, w, a in zip(line, widths, align)).rstrip()
        for line in (head, *rows)
    ]


def by_layer(rows: Iterable[Work]) -> dict[str, list[Work]]:
    """Layer -> the rows that belong to it: those it is the first layer of."""
    found: dict[str, list[Work]] = {}
    for row in rows:
        found.setdefault(row.layers[0] if row.layers else "", []).append(row)
    return found


def hosts(rows: Iterable[Work]) -> dict[str, list[str]]:
    """Layer -> the layers into whose kernels its operations were fused."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for layer in row.layers[1:]:
            if row.layers[0] not in found.setdefault(layer, []):
                found[layer].append(row.layers[0])
    return found
