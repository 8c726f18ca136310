"""bfloat16: rounding, copies of tensors in pairs, and the product of pairs.

Processors with bfloat16 products multiply two pairs of neighbours and add both products to a float32:

    sum[lane] += a[lane][0] * b[lane][0] + a[lane][1] * b[lane][1]

A pair is 32 bits, as large as a float32. So every kernel that multiplies and adds serves both precisions: it
runs over pairs instead of numbers, and its `multiply_add` is the product of pairs. The sum says what makes a
pair:

    channel pairs  (x[.., 2c], x[.., 2c+1])      where the sum runs over channels: forward and input gradients
    image pairs    (x[2n, ..], x[2n+1, ..])      where it runs over images: kernel gradients

An odd count is filled up with zeros. Other processors round the operands and multiply in float32: the same
result up to the order of the sum. Source: Intel Architecture Instruction Set Extensions, VDPBF16PS (it takes
denormal numbers for zero).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kernelearn.engine.cpu.language.bfloat16 import neighbours, pair_of, rounded_bits
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import BLOCK, emit_flat
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import IMAGES, Code, Plan, Tasks, has_images, identity, per_image
from kernelearn.engine.program import Operation

# Precision of an operation whose operands have been rounded: it multiplies them as they are.
_ROUNDED = "rounded"
# Products that one instruction makes in every lane.
PAIRS_SAVING = 2.0
# The same of a product of matrix tiles, by all that has been measured of it.
TILES_SAVING = 8.0


def has_rounded_operands(op: Operation) -> bool:
    """Whether an operation multiplies bfloat16 numbers."""
    return bool(op.attrs["precision"] == "bfloat16")


def multiplies_pairs(plan: Plan, op: Operation) -> bool:
    """Whether it does so by the processor's products of pairs."""
    return has_rounded_operands(op) and plan.target.has_bf16 and plan.target.width == 16


def multiplies_tiles(plan: Plan, op: Operation) -> bool:
    """Whether it may do so by products of matrix tiles."""
    return has_rounded_operands(op) and bool(plan.target.tiles)


def products(op: Operation, pairs: bool) -> str:
    """What kind of products a kernel makes, for its note."""
    if pairs:
        return ", bfloat16 pairs"
    return ", rounded to bfloat16" if op.attrs["precision"] in (_ROUNDED, "bfloat16") else ""


# --- passes over memory


def rounded_operands(plan: Plan, op: Operation) -> Operation:
    """The operation in float32 on rounded copies of its operands."""
    names = tuple(rounded(plan, op, name) for name in op.inputs)
    return replace(op, inputs=names, attrs={**op.attrs, "precision": _ROUNDED})


def rounded(plan: Plan, op: Operation, name: str) -> str:
    """A float32 copy of a tensor, rounded to bfloat16; made once for all users."""
    shape = plan.shape(name)
    size, images = per_image(shape), has_images(shape)

    tasks = IMAGES if images else Tasks(fixed=max(-(-size // BLOCK), 1))
    return copied(plan, op, name, Rounded(size, images), shape, "float32", tasks)


@dataclass(frozen=True)
class Rounded:
    """Number by number. images: whether tasks are images."""

    size: int
    images: bool

    def emit(self, k: Kernel) -> None:
        def body(at: Index, mask: Value | None) -> None:
            k.store(rounded_bits(k.load("x", at, mask)).from_bits(), "y", at, mask)

        if self.images:
            emit_flat(k, k.lo * self.size, k.hi * self.size, body)
        else:
            emit_flat(k, k.lo * BLOCK, k.minimum(k.hi * BLOCK, self.size), body)


def channel_pairs(plan: Plan, op: Operation, name: str, inner: int) -> str:
    """Pairs of neighbouring channels of a tensor with images: (n, pixels * groups, half of `inner`).

    Args:
        inner: channels of a group; an odd number is filled up with a zero.
    """
    size = per_image(plan.shape(name))
    shape = (None, size // inner, -(-inner // 2))
    return copied(plan, op, name, ChannelPairs(size, inner), shape, "uint32", IMAGES)


@dataclass(frozen=True)
class ChannelPairs:
    """Pairs of an image of `size` numbers, `inner` channels a group."""

    size: int
    inner: int

    def emit(self, k: Kernel) -> None:
        if self.inner % 2 == 0:
            _emit_even_pairs(k, k.lo * (self.size // 2), k.hi * (self.size // 2))
        else:
            rows = self.size // self.inner
            _emit_odd_pairs(k, k.lo * rows, k.hi * rows, self.inner)


def _emit_even_pairs(k: Kernel, lo: Index, hi: Index) -> None:
    """Pairs [lo, hi) of a tensor in which pairs follow each other."""
    vectors = (hi - lo) // k.width
    tail = lo + vectors * k.width

    def body(at: Index, masks: tuple[Value | None, Value | None, Value | None]) -> None:
        first, second = k.load("x", at * 2, masks[0]), k.load("x", at * 2 + k.width, masks[1])
        k.store(neighbours(k, first, second), "y", at, masks[2])

    with k.loop(lo, tail, k.width) as at:
        body(at, (None, None, None))
    with k.when(k.compare("slt", tail, hi)):
        count = hi - tail
        body(tail, (k.mask_below(count * 2), k.mask_below(count * 2 - k.width), k.mask_below(count)))


def _emit_odd_pairs(k: Kernel, lo: Index, hi: Index, inner: int) -> None:
    """Rows [lo, hi) of an odd number of channels."""
    half = -(-inner // 2)
    with k.loop(lo, hi) as row:
        for start in range(0, inner, 2 * k.width):
            left = inner - start
            first = k.load("x", row * inner + start, k.mask(left))
            second = k.zero
            if left > k.width:
                second = k.load("x", row * inner + start + k.width, k.mask(left - k.width))
            place = row * half + start // 2
            k.store(neighbours(k, first, second), "y", place, k.mask(-(-left // 2)))


def image_pairs(plan: Plan, op: Operation, name: str) -> str:
    """Pairs of neighbouring images: half of the images, each as large as before; see `Plan.halved`."""
    size = per_image(plan.shape(name))
    made = copied(plan, op, name, ImagePairs(size), (None, size), "uint32", Tasks(1), True)
    plan.halved.add(made)
    return made


@dataclass(frozen=True)
class ImagePairs:
    """Number by number of two images; the last image of an odd number has zeros beside it."""

    size: int

    def emit(self, k: Kernel) -> None:
        images = k.scalar("n")
        with k.loop(k.lo, k.minimum(k.hi, half_of(images))) as task:
            target, source = task * self.size, task * (2 * self.size)
            has_second = k.compare("slt", task * 2 + 1, images)

            def body(at: Index, mask: Value | None, is_pair: bool) -> None:
                first = k.load("x", source + at, mask)
                second = k.load("x", source + at + self.size, mask) if is_pair else k.zero
                k.store(pair_of(k, first, second), "y", target + at, mask)

            zero, end = k.const(0), k.const(self.size)
            with k.when(has_second):
                emit_flat(k, zero, end, lambda at, mask: body(at, mask, True))
            with k.when(~has_second):
                emit_flat(k, zero, end, lambda at, mask: body(at, mask, False))


def half_of(images: Index) -> Index:
    """Pairs that so many images make."""
    return (images + 1) // 2


def copied(
    plan: Plan,
    op: Operation,
    name: str,
    code: Code,
    shape: tuple[int | None, ...],
    dtype: str,
    tasks: Tasks,
    across_images: bool = False,
) -> str:
    """The buffer of a copy of a tensor, made by a call that is added to the plan unless another has."""
    version = f"{plan.root(name)} {identity(code)} {op.phase == 'update'}"
    if version not in plan.shared:
        copy = plan.shared[version] = plan.scratch(f"{name}/bfloat16", shape, dtype)
        plan.call(
            op,
            code,
            {"x": name, "n": "#n"} if across_images else {"x": name},
            {"y": copy},
            tasks,
            by_image=tasks == IMAGES and not across_images,
            note="round to bfloat16",
        )
    return plan.shared[version]
