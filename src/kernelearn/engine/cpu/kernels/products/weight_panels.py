"""Kernel gradients of dense layers with large weights, and the step of an optimiser on the way.

    dw[c, f] = sum over rows m of x[m, c] * g[m, f]

x and g are copied once, strip by strip, a row of a strip after another. A task has some inputs c:

for strip of g:                       in the first-level cache
    for 8 inputs:                     a strip of x
        8 x vectors sums in registers over all rows
        dw, or the weights and what the optimiser carries for them, loaded, moved and stored

So the gradient of a tile need not go to memory: what has to be moved is each weight and its states, once.
They are asked for while the tile before is multiplied. Sums of PIECE terms are added up, which rounds less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.packing import Blocks
from kernelearn.engine.cpu.kernels.precision import (
    PAIRS_SAVING,
    half_of,
    has_rounded_operands,
    image_pairs,
    multiplies_pairs,
    products,
)
from kernelearn.engine.cpu.kernels.products.copies import rounded
from kernelearn.engine.cpu.kernels.products.dense_sizes import dense_sizes
from kernelearn.engine.cpu.kernels.products.panels import tile_rows
from kernelearn.engine.cpu.kernels.updates import Step
from kernelearn.engine.cpu.language.kernel import Index, Kernel, Register
from kernelearn.engine.cpu.language.values import PAIR, Value
from kernelearn.engine.cpu.plan import Plan, Tasks
from kernelearn.engine.program import Operation

# Bytes of weights from which on it is worth it, and rows of an image up to which g stays in a core's cache.
LARGE_WEIGHTS, FEW_ROWS = 2**20, 31
# Terms of a sum.
PIECE = 128
# Tiles of inputs of a task, and tasks that there shall be at least.
TILES, WANTED_TASKS = 4, 16
# Strips of x that a task copies.
COPIED = 8
# Parts of a tile's rows; before each a part of the next tile's weights is asked for.
PARTS = 4

# Row and vector of a tile.
Place = tuple[int, int]


def fits(plan: Plan, op: Operation) -> bool:
    """Whether a kernel gradient is made here."""
    sizes = dense_sizes(plan, op)
    if sizes is None:
        return False
    return 4 * sizes.inner * sizes.outer >= LARGE_WEIGHTS and sizes.rows <= FEW_ROWS


def lower_weight_panels(plan: Plan, op: Operation) -> bool:
    """The kernel gradient of a dense layer, if its weights are large."""
    return fits(plan, op) and lower(plan, op, op, {}, {"dw": op.outputs[0]}, None)


def lower(
    plan: Plan,
    op: Operation,
    gradient: Operation,
    reads: dict[str, str],
    writes: dict[str, str],
    step: Step | None,
) -> bool:
    """Add the calls of `op`: the gradient, or with a step the update of the weights, too."""
    sizes = dense_sizes(plan, gradient)
    assert sizes is not None
    rows, inner, outer = sizes.rows, sizes.inner, sizes.outer
    pairs = multiplies_pairs(plan, gradient)
    # With an update copies are made only if the loss is finite, as that is.
    copied = replace(gradient, phase=op.phase)
    is_rounded = has_rounded_operands(gradient) and not pairs
    names = [image_pairs(plan, copied, name) if pairs else name for name in copied.inputs]
    (tile, vectors), width = tile_rows(plan.target), plan.target.width
    blocks = Blocks(outer, width, min(vectors, -(-outer // width)))
    x = _strips(plan, copied, names[0], Strips(inner, rows, tile, tile, COPIED, pairs, is_rounded))
    last = blocks.tail_vectors * blocks.width or blocks.lanes
    g = _strips(plan, copied, names[1], Strips(outer, rows, blocks.lanes, last, 1, pairs, is_rounded))
    code = WeightPanels(inner, outer, rows, blocks, tile, pairs, step)
    plan.call(
        op,
        code,
        {"x": x, "g": g, "n": "#n", **reads},
        writes,
        Tasks(fixed=code.down * code.across),
        flops=(2.0 * inner * outer * rows, 0.0 if step is None else 10.0 * inner * outer),
        saving=PAIRS_SAVING if pairs else 1.0,
        note=f"panels, tile {tile}x{blocks.vectors}{products(copied, pairs)}"
        + ("" if step is None else ", with the update"),
    )
    return True


def _strips(plan: Plan, op: Operation, name: str, code: Strips) -> str:
    """The buffer with the strips of a tensor, made by a call that is added to the plan."""
    made = plan.scratch(f"{name}/strips", (None, code.rows * code.padded))
    if code.is_paired:
        plan.halved.add(made)
    tasks = Tasks(fixed=-(-code.count // code.together))
    plan.call(op, code, {"x": name, "n": "#n"}, {"y": made}, tasks, note="copy in strips")
    return made


@dataclass(frozen=True)
class Strips:
    """y[strip][row][lane] = x[row][strip * lanes + lane]; tasks: `together` strips.

    Attributes:
        channels: of x; rows: of an image.
        lanes: of a strip; last: of the last one, zeros or nothing behind the channels.
        is_paired: whether rows are pairs of those of two images.
        is_rounded: whether to round to bfloat16.
    """

    channels: int
    rows: int
    lanes: int
    last: int
    together: int
    is_paired: bool
    is_rounded: bool

    @property
    def count(self) -> int:
        return -(-self.channels // self.lanes)

    @property
    def padded(self) -> int:
        """Numbers of a row in all strips."""
        return (self.count - 1) * self.lanes + self.last

    def emit(self, k: Kernel) -> None:
        total = total_rows(k, self.rows, self.is_paired)
        whole = self.channels // self.lanes
        with k.loop(k.lo, k.minimum(k.hi, whole // self.together)) as task:
            self._copy(k, total, task * self.together, self.together, self.lanes, self.lanes)
        left = k.maximum(k.lo, whole // self.together) * self.together
        with k.loop(left, k.minimum(k.hi * self.together, whole)) as strip:
            self._copy(k, total, strip, 1, self.lanes, self.lanes)
        if whole < self.count:
            with k.when(k.compare("sgt", k.hi * self.together, whole)):
                self._copy(k, total, k.const(whole), 1, self.channels - whole * self.lanes, self.last)

    def _copy(self, k: Kernel, total: Index, strip: Index, count: int, channels: int, lanes: int) -> None:
        """So many strips, row by row: what lies together is read together."""
        with k.loop(0, total) as row:
            for i in range(count):
                target = total * (strip + i) * self.lanes
                for start in range(0, lanes, k.width):
                    at = row * self.channels + (strip + i) * self.lanes + start
                    value = k.load("x", at, k.mask(channels - start))
                    place = target + row * lanes + start
                    k.store(rounded(value, self.is_rounded), "y", place, k.mask(lanes - start))


def total_rows(k: Kernel, rows: int, is_paired: bool) -> Index:
    """Rows of all images, or of all pairs of them."""
    return (half_of(k.scalar("n")) if is_paired else k.scalar("n")) * rows


@dataclass(frozen=True)
class WeightPanels:
    """dw = x' g. Tasks: a share of the inputs, and of the strips of outputs.

    Attributes:
        inner, outer: channels of x and of g; rows: of an image.
        blocks: the outputs in strips; tile: inputs of a strip of x.
        is_paired: whether rows are pairs of bfloat16.
        step: what is done with the gradient; None: it is stored.
    """

    inner: int
    outer: int
    rows: int
    blocks: Blocks
    tile: int
    is_paired: bool
    step: Step | None

    @property
    def share(self) -> int:
        """Inputs of a task."""
        return TILES * self.tile

    @property
    def down(self) -> int:
        """Tasks along the inputs."""
        return -(-self.inner // self.share)

    @property
    def strips(self) -> int:
        """Strips of a task."""
        return -(-self.blocks.count // min(self.blocks.count, -(-WANTED_TASKS // self.down)))

    @property
    def across(self) -> int:
        """Tasks along the outputs."""
        return -(-self.blocks.count // self.strips)

    def emit(self, k: Kernel) -> None:
        k.local("sums", self.tile * self.blocks.lanes)
        move = None if self.step is None else self.step.mover(k)
        total = total_rows(k, self.rows, self.is_paired)
        with k.loop(k.lo, k.hi) as task:
            first = (task // self.across) * self.share
            end = k.minimum(first + self.share, self.inner // self.tile * self.tile)
            start = (task % self.across) * self.strips
            for kind, count, vectors, channels in self.blocks.kinds():
                low, high = k.maximum(start - kind, 0), k.minimum(start + self.strips - kind, count)
                with k.loop(low, high) as block:
                    strip = _Strip(self, k, total, (block + kind), vectors, channels, move)
                    strip.emit(first, end)


@dataclass(frozen=True)
class _Strip:
    """A strip of outputs, number `block`, `channels` of them; `move` takes the sums."""

    code: WeightPanels
    k: Kernel
    total: Index
    block: Index
    vectors: int
    channels: int
    move: Callable[[Value, Index, Value | None], None] | None

    @property
    def lanes(self) -> int:
        return self.vectors * self.k.width

    def emit(self, first: Index, end: Index) -> None:
        """The inputs [first, end), and what is left behind the last whole tile."""
        code, k = self.code, self.k
        with k.loop(first, end, code.tile) as row:
            self._tile(row, code.tile)
        left = code.inner % code.tile
        if left:
            with k.when(k.compare("sge", first + code.share, code.inner)):
                self._tile(k.const(code.inner - left), left)

    def _tile(self, row: Index, rows: int) -> None:
        """rows x vectors sums."""
        k, code = self.k, self.code
        places = [(r, v) for r in range(rows) for v in range(self.vectors)]
        begin = row * code.outer + self.block * code.blocks.lanes
        # NOTE: at least one piece: without images the gradient is zero.
        with k.loop(0, k.maximum(self.total, 1), PIECE, checked=False) as start:
            count = k.minimum(self.total - start, PIECE)
            sums = {place: k.register(start=k.zero) for place in places}
            with k.loop(0, PARTS, checked=False) as part:
                self._ask_for_next(begin, part, rows)
                low, high = start + (count * part) // PARTS, start + (count * (part + 1)) // PARTS
                with k.loop(low, high) as m:
                    self._turn(m, row, rows, sums)
            is_later = k.compare("sgt", start, 0)
            before = k.mask_below(k.either(is_later, k.const(k.width), k.const(0)))
            totals = {p: k.load("sums", self._place(p), before) + k.get(sums[p]) for p in places}
            with k.when(k.compare("sge", start + PIECE, self.total)):
                self._move(begin, totals)
            with k.when(k.compare("slt", start + PIECE, self.total)):
                for place, value in totals.items():
                    k.store(value, "sums", self._place(place))

    def _move(self, begin: Index, totals: dict[Place, Value]) -> None:
        """The sums of a tile to memory, or through the update."""
        k, code = self.k, self.code
        for (r, v), value in totals.items():
            mask, at = k.mask(self.channels - v * k.width), begin + r * code.outer + v * k.width
            if self.move is None:
                k.store(value, "dw", at, mask)
            else:
                self.move(value, at, mask)

    def _place(self, place: Place) -> int:
        r, v = place
        return (r * self.vectors + v) * self.k.width

    def _turn(self, m: Index, row: Index, rows: int, sums: dict[Place, Register]) -> None:
        """A row of the strip of g, times numbers of x in all lanes."""
        k, code = self.k, self.code
        element = PAIR if code.is_paired else "float"
        g = self.total * self.block * code.blocks.lanes + m * self.lanes
        held = [k.load("g", g + v * k.width, element=element) for v in range(self.vectors)]
        x = self.total * row + m * code.tile
        for r in range(rows):
            value = k.broadcast("x", x + r, element)
            for v in range(self.vectors):
                k.set(sums[r, v], k.multiply_add(value, held[v], k.get(sums[r, v])))

    def _ask_for_next(self, begin: Index, part: Index, rows: int) -> None:
        """Prefetch a part of what the next tile of the strip writes."""
        k, code = self.k, self.code
        names = ("dw",) if code.step is None else code.step.arrays
        each = -(-rows // PARTS)
        for i in range(each):
            at = begin + (part * each + (rows + i)) * code.outer
            for v in range(self.vectors):
                for name in names:
                    k.prefetch(name, at + v * k.width, is_written=True)
