"""Operators that draw random numbers: dropout, Gaussian noise, one draw per image.

A number depends on its place in the whole tensor only, so that it is the same for any division of the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kernelearn.engine.cpu.kernels.entrywise.chain import lower_chain
from kernelearn.engine.cpu.kernels.shaping import divided
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import one_by_one
from kernelearn.engine.cpu.language.philox import Philox, uniform
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import IMAGES, Plan, Tasks, has_images, per_image
from kernelearn.engine.program import Operation

# store(offset, mask, words): what is done with a vector of int32 random words.
Use = Callable[[Index, Value | None, Value], None]


def in_order(k: Kernel, random: Philox, lo: Index, hi: Index, is_aligned: bool, use: Use) -> None:
    """use(offset, mask, words) for the words number lo to hi: the rest of a block, then block by block.

    Args:
        is_aligned: whether lo is known to be a multiple of four.
    """
    width = k.width
    if not is_aligned:
        start = ((lo + 3) // 4) * 4
        end = k.minimum(start, hi)
        with k.when(k.compare("slt", lo, end)):
            use(lo, k.mask_below(end - lo), random.words_at(random.numbers_from(lo)))
        lo = end
    whole = lo + ((hi - lo) // (4 * width)) * (4 * width)
    with k.loop(lo, whole, 4 * width) as at:
        for number, words in enumerate(random.words_in_order(at // 4)):
            use(at + number * width, None, words)
    with k.when(k.compare("slt", whole, hi)):
        for number, words in enumerate(random.words_in_order(whole // 4)):
            use(whole + number * width, k.mask_below(hi - whole - number * width), words)


# --- dropout


def kept(words: Value, rate: float) -> Value:
    """0 or 1 / (1 - rate): as `uniform(words) >= rate` decides, by comparing whole numbers."""
    zero = words.kernel.zero
    # The least number of 24 bits that is kept: exact, as float32 holds all of them.
    least = math.ceil(float(np.float32(rate)) * 2**24)
    if least >= 2**24:
        return zero
    return words.test("uge", least << 8).choose(1 / (1 - rate), zero)


def lower_dropout(plan: Plan, op: Operation) -> bool:
    """y, mask <- (x, seed, step)"""
    x, seed, step = op.inputs
    y, mask = op.outputs
    shape, mask_shape = plan.shape(x), plan.shape(mask)
    if not plan.is_float(x) or not has_images(shape) or len(mask_shape) != len(shape):
        return False
    clock = {"seed": seed, "step": step}
    rate, stream = float(op.attrs["rate"]), int(op.attrs["stream"])
    if mask_shape == shape:
        size = per_image(shape)
        plan.call(
            op,
            Dropout(size, rate, stream),
            {"x": x, **clock},
            {"mask": mask, "y": y},
            flops=(20.0 * size, 0.0),
        )
        return True
    if any(own not in (1, size) for own, size in zip(mask_shape, shape)):
        return False
    return _lower_shared_dropout(plan, op, rate, stream)


def _lower_shared_dropout(plan: Plan, op: Operation, rate: float, stream: int) -> bool:
    """The mask first, then the product."""
    x, seed, step = op.inputs
    y, mask = op.outputs
    with_images = has_images(plan.shape(mask))
    size = per_image(plan.shape(mask))
    plan.call(
        op,
        Dropout(size, rate, stream),
        {"seed": seed, "step": step},
        {"mask": mask},
        IMAGES if with_images else Tasks(fixed=1),
    )
    product = Operation("multiply", (x, mask), (y,), {}, op.layer, op.phase)
    return lower_chain(plan, op, (product,), (y,), plan.shape(y))


@dataclass(frozen=True)
class Dropout:
    """The mask of the images of this task, and their product with it if there is an `x`."""

    size: int
    rate: float
    stream: int

    def emit(self, k: Kernel) -> None:
        random = Philox(k, self.stream)

        def use(at: Index, mask: Value | None, words: Value) -> None:
            factor = kept(words, self.rate)
            k.store(factor, "mask", at, mask)
            if "x" in k.arguments:
                k.store(k.load("x", at, mask) * factor, "y", at, mask)

        in_order(k, random, k.lo * self.size, k.hi * self.size, self.size % 4 == 0, use)


# --- noise


def lower_random_uniform(plan: Plan, op: Operation) -> bool:
    """(n, *shape) numbers in [low, high)."""
    seed, step = op.inputs[1:]
    if not plan.is_float(op.outputs[0]) or not has_images(plan.shape(op.outputs[0])):
        return False
    size, stream = per_image(plan.shape(op.outputs[0])), int(op.attrs["stream"])
    low, high = float(op.attrs["low"]), float(op.attrs["high"])

    plan.call(op, Uniform(size, stream, low, high), {"seed": seed, "step": step}, {"y": op.outputs[0]})
    return True


@dataclass(frozen=True)
class Uniform:
    """`size` numbers an image in [low, high)."""

    size: int
    stream: int
    low: float
    high: float

    def emit(self, k: Kernel) -> None:
        random = Philox(k, self.stream)

        def use(at: Index, mask: Value | None) -> None:
            u = uniform(random.words_at(random.numbers_from(at)))
            k.store(self.low + u * (self.high - self.low), "y", at, mask)

        one_by_one(k, k.lo * self.size, k.hi * self.size, use)


def lower_draw(plan: Plan, op: Operation) -> bool:
    """Uniform, normal, or 0 and 1; the others are left to the reference engine."""
    (target,) = op.outputs
    shape, kind, stream = plan.shape(target), op.attrs["kind"], int(op.attrs["stream"])
    if not plan.is_float(target) or kind not in ("uniform", "normal", "bernoulli"):
        return False
    tasks, sizes = divided(shape)
    size = math.prod(sizes)
    reads = {"seed": op.inputs[0], "step": op.inputs[1]}
    if kind == "uniform":
        plan.call(op, Uniform(size, stream, 0.0, 1.0), reads, {"y": target}, tasks)
        return True
    if kind == "bernoulli":
        plan.call(op, Bernoulli(size, stream, float(op.attrs["probability"])), reads, {"y": target}, tasks)
        return True
    if has_images(shape):
        reads["n"] = "#n"
    code = Normal(size, stream, tasks.fixed * size)
    plan.call(op, code, reads, {"y": target}, tasks, flops=(60.0 * size, 0.0))
    return True


@dataclass(frozen=True)
class Bernoulli:
    """`size` numbers a task, 1 with this probability, else 0."""

    size: int
    stream: int
    probability: float

    def emit(self, k: Kernel) -> None:
        random = Philox(k, self.stream)

        def use(at: Index, mask: Value | None) -> None:
            u = uniform(random.words_at(random.numbers_from(at)))
            k.store((u < self.probability).choose(1.0, k.zero), "y", at, mask)

        one_by_one(k, k.lo * self.size, k.hi * self.size, use)


def normals_at(k: Kernel, random: Philox, half: Index, at: Index) -> Value:
    """Standard normal numbers from number `at` on; `half` of all numbers, rounded up.

    Numbers 2 j and 2 j + 1 come from the words j (radius) and half + j (angle).
    """
    numbers = random.numbers_from(at)
    pairs = numbers >> 1
    angles = pairs + k.splat(str(half), "i64")
    u, turns = (uniform(random.words_at(words)) for words in (pairs, angles))
    radius = fn.sqrt(-2.0 * fn.log(1.0 - u))
    sine, cosine = fn.sine_and_cosine(turns)
    return radius * numbers.truncated("i1").choose(sine, cosine)


@dataclass(frozen=True)
class Normal:
    """`size` standard normal numbers a task, of `fixed` numbers in all, or (0) of all images'."""

    size: int
    stream: int
    fixed: int

    def emit(self, k: Kernel) -> None:
        random = Philox(k, self.stream)
        total = k.const(self.fixed) if self.fixed else k.scalar("n") * self.size
        half = (total + 1) // 2

        def use(at: Index, mask: Value | None) -> None:
            k.store(normals_at(k, random, half, at), "y", at, mask)

        one_by_one(k, k.lo * self.size, k.hi * self.size, use)


def lower_gaussian_noise(plan: Plan, op: Operation) -> bool:
    """x plus normal noise by the Box-Muller transform."""
    x, seed, step = op.inputs
    if not plan.is_float(x) or not has_images(plan.shape(x)):
        return False
    size, stream, deviation = per_image(plan.shape(x)), int(op.attrs["stream"]), float(op.attrs["stddev"])
    plan.call(
        op,
        GaussianNoise(size, stream, deviation),
        {"x": x, "seed": seed, "step": step, "n": "#n"},
        {"y": op.outputs[0]},
        flops=(60.0 * size, 0.0),
    )
    return True


@dataclass(frozen=True)
class GaussianNoise:
    """Numbers of an image plus normal ones."""

    size: int
    stream: int
    deviation: float

    def emit(self, k: Kernel) -> None:
        random = Philox(k, self.stream)
        half = (k.scalar("n") * self.size + 1) // 2

        def use(at: Index, mask: Value | None) -> None:
            noise = normals_at(k, random, half, at)
            k.store(fn.fma(noise, self.deviation, k.load("x", at, mask)), "y", at, mask)

        one_by_one(k, k.lo * self.size, k.hi * self.size, use)
