"""What the CPU engine does for a program: kernel calls in order, and the buffers that they touch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Protocol

import numpy as np

from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.machine import parallel
from kernelearn.engine.cpu.machine.compiler import Function
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.program import Buffer, Operation, Program
from kernelearn.errors import KernelearnError

BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint32": 4, "uint8": 1, "int8": 1, "bool": 1}


@dataclass(frozen=True)
class Tasks:
    """How many independent tasks a call has: per_image * images + fixed."""

    per_image: int = 0
    fixed: int = 0

    def count(self, images: int) -> int:
        return self.per_image * images + self.fixed


IMAGES = Tasks(per_image=1)
# Tasks that an image is divided into when there are few images; passes over fewer numbers are not divided.
BANDS, SMALL_PASS = 4, 2**13


class Code(Protocol):
    """What makes a kernel: a frozen dataclass whose fields say all that the code depends on.

    So its fields are the kernel's identity (see `identity`), and nothing can be left out of it.
    """

    def emit(self, k: Kernel) -> None:
        """Write the kernel's body."""


@dataclass(frozen=True)
class Call:
    """One kernel applied to buffers.

    Attributes:
        code: what writes its body into a Kernel.
        reads, writes: role in the kernel -> buffer name. "#n" instead of a name stands for the number of
            images, "#123" for that number, so that one kernel can serve tensors of several sizes.
        tasks: how the work is divided.
        by_image: task i touches image i only (of all buffers that have images), so that several calls can be
            done on a few images before the next few.
        layer, operator: whose work it is.
        flops: floating point operations per image, and once per step.
        together: images that the kernel is made for: 8 where they are the rows of its register tile, 1 where
            each has large products of its own, 0 where it does not matter.
        saving: operations, as `flops` counts them, that the kernel does in the time of one multiply-add's.
        alternative: the same work in more, smaller tasks, for fewer images than would keep all threads busy.
    """

    code: Code
    reads: Mapping[str, str]
    writes: Mapping[str, str]
    tasks: Tasks
    by_image: bool
    operation: Operation
    flops: tuple[float, float] = (0.0, 0.0)
    saving: float = 1.0
    note: str = ""
    alternative: Call | None = None
    together: int = 0

    @property
    def key(self) -> str:
        """What the kernel is, whatever program it is in: its code, and the order of its arguments."""
        return f"{identity(self.code)} {','.join(self.roles)}"

    @property
    def roles(self) -> dict[str, str]:
        return {**self.reads, **self.writes}

    @property
    def guarded(self) -> bool:
        return self.operation.phase == "update"


@dataclass
class Fallback:
    """An operation that the reference engine runs."""

    operation: Operation


@dataclass
class Plan:
    """Calls in order, and the buffers they use.

    Attributes:
        buffers: those of the program, and scratch ones.
        aliases: buffer -> the buffer whose memory it shares (a reshape).
        checks: functions of the inputs that raise if these are wrong in a way that kernels answer with NaN;
            called after a run whose loss is no number.
        halved: scratch buffers whose first axis counts pairs of images.
        keeps_constants: whether what the prologue makes serves many runs, so that large copies are worth it.
    """

    program: Program
    target: Target
    buffers: dict[str, Buffer] = field(default_factory=dict)
    steps: list[Call | Fallback] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    prologue: list[Call] = field(default_factory=list)
    constant: set[str] = field(default_factory=set)
    shared: dict[str, str] = field(default_factory=dict)
    checks: list[Callable[[Mapping[str, Any]], None]] = field(default_factory=list)
    halved: set[str] = field(default_factory=set)
    keeps_constants: bool = True

    @property
    def is_training(self) -> bool:
        """Whether the program trains: it then gets whole batches, else perhaps single images."""
        return any(op.phase != "forward" for op in self.program.operations)

    def root(self, name: str) -> str:
        """The buffer whose memory this one is."""
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def scratch(self, stem: str, shape: tuple[int | None, ...], dtype: str = "float32") -> str:
        """A buffer of the engine's own."""
        name = f"{stem}#{len(self.buffers)}"
        self.buffers[name] = Buffer(name, shape, dtype, "value")
        return name

    def shape(self, name: str) -> tuple[int | None, ...]:
        return self.buffers[name].shape

    def dtype(self, name: str) -> str:
        return self.buffers[name].dtype

    def numbers(self, name: str, images: int) -> int:
        """Entries of a buffer when a step runs on so many images."""
        count = -(-images // 2) if name in self.halved else images
        return math.prod(count if size is None else size for size in self.buffers[name].shape)

    def is_float(self, *names: str) -> bool:
        return all(self.buffers[n].dtype == "float32" for n in names)

    def are_images(self, *names: str) -> bool:
        """Whether all are float32 tensors of images."""
        return self.is_float(*names) and all(has_images(self.shape(n)) for n in names)

    def call(
        self,
        operation: Operation,
        code: Code,
        reads: Mapping[str, str],
        writes: Mapping[str, str],
        tasks: Tasks = IMAGES,
        by_image: bool | None = None,
        flops: tuple[float, float] = (0.0, 0.0),
        saving: float = 1.0,
        note: str = "",
        split: tuple[Code, Tasks] | None = None,
        together: int = 0,
    ) -> None:
        """Add a kernel call. It goes to the prologue if nothing that it reads changes from run to run.

        Args:
            split: code and tasks of the same work in more tasks.
            together: see `Call`.
        """
        by_image = tasks == IMAGES if by_image is None else by_image
        made = Call(code, reads, writes, tasks, by_image, operation, flops, saving, note, together=together)
        if split is not None:
            finer = replace(made, code=split[0], tasks=split[1], by_image=False)
            made = replace(made, alternative=finer)
        sources = {self.root(n) for n in reads.values() if not is_number(n)}
        is_fixed = tasks.per_image == 0 and "#n" not in reads.values()
        if operation.phase != "update" and sources <= self.constant and is_fixed:
            self.constant.update(writes.values())
            self.prologue.append(made)
        else:
            self.steps.append(made)

    def for_few_images(self) -> list[Call | Fallback]:
        """The steps with more tasks than images, where there are such alternatives."""
        return [s.alternative or s if isinstance(s, Call) else s for s in self.steps]

    def load(self, calls: Sequence[Call]) -> list[Function]:
        """Calls' kernels, those that no cache has compiled together."""
        keys = [call.key for call in calls]
        return parallel.load_all(keys, self.target, lambda i, name: kernel_text(calls[i], name, self.target))


def kernel_text(call: Call, name: str, target: Target) -> str:
    """The LLVM IR of a call's kernel."""
    kernel = Kernel(name, call.roles, target)
    call.code.emit(kernel)
    return kernel.finish()


def identity(value: object) -> str:
    """What a value is, as text: class and fields, and theirs. Values of equal text emit equal code.

    A class whose fields hold more than that (names of buffers) says itself what it is, as `identity`.

    Raises: KernelearnError for a value that no text tells from others, such as a function.
    """
    if type(value) in _PLAIN or isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"({', '.join(map(identity, value))})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {identity(value[name])}' for name in sorted(value))}}}"
    kind, names = _described(type(value))
    own = getattr(value, "identity", None)
    if isinstance(own, str):
        return f"{kind}({own})"
    if names is None:
        raise KernelearnError(
            f"A kernel's code depends on {value!r}, which has no identity: use numbers, text and dataclasses."
        )
    return f"{kind}({', '.join([f'{name}={identity(getattr(value, name))}' for name in names])})"


# What a text tells from others.
_PLAIN = (int, str, bool, type(None), float, np.generic)


# What `_described` found.
_descriptions: dict[type, tuple[str, tuple[str, ...] | None]] = {}


def _described(kind: type) -> tuple[str, tuple[str, ...] | None]:
    """What a class is called in an identity, and the names of its fields; None for no dataclass."""
    found = _descriptions.get(kind)
    if found is None:
        name = f"{kind.__module__.removeprefix(f'{__package__}.')}.{kind.__qualname__}"
        names = tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None
        found = _descriptions[kind] = name, names
    return found


def per_image(shape: tuple[int | None, ...]) -> int:
    """Numbers per image of a shape (n, ...), or all numbers of a shape without images."""
    return math.prod(s for s in shape if s is not None)


def in_pieces(code: Code, size: int, pieces: int) -> tuple[Code, Tasks] | None:
    """A pass over images as the `split` of a call: the code for one of the equal pieces of an image.

    Args:
        size: numbers of an image; pieces: of an image.
    """
    return (code, Tasks(per_image=pieces)) if size >= SMALL_PASS and pieces > 1 else None


def whole_pieces(size: int, width: int) -> int:
    """Equal pieces of whole vectors that so many numbers fall into: a few, or 1."""
    return next((n for n in (4 * BANDS, 2 * BANDS, BANDS) if size % (n * width) == 0), 1)


def is_number(name: str) -> bool:
    """Whether an entry of a call's roles is a number and not a buffer."""
    return name.startswith("#")


def has_images(shape: tuple[int | None, ...]) -> bool:
    """Whether the first axis counts images."""
    return bool(shape) and shape[0] is None


def image_sizes(shape: Sequence[int | None]) -> tuple[int, ...]:
    """Sizes of one image of a shape (None, ...)."""
    return tuple(s for s in shape if s is not None)
