"""Chains of operations entry by entry, done in registers: alone over memory, or at the end of another kernel.

A chain reads vectors of the tensor ("full"), of a row of weights that belongs to the last axis ("channel"),
or single numbers ("scalar"); over memory also of tensors that are repeated along any axes ("spread"), and
behind a convolution of smaller maps whose pixels are placed among zeros ("placed"). It applies operators of
`EMITTERS`, and stores the results that somebody needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.elements import (
    ELEMENTS,
    lanes_of,
    load,
    load_everywhere,
    store,
)
from kernelearn.engine.cpu.kernels.entrywise.emitters import EMITTERS, has_code, read_inputs
from kernelearn.engine.cpu.kernels.entrywise.places import Spread, find_spread
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import BLOCK, blocks, emit_flat, lanes, window
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import (
    IMAGES,
    Plan,
    Tasks,
    has_images,
    identity,
    in_pieces,
    per_image,
    whole_pieces,
)
from kernelearn.engine.program import Buffer, Operation

# What brings a smaller map to the size of the chain's tensor: every so many pixels, and zeros between them.
PLACING = "strided_place"
# Along an axis: the first pixel that has a number, how many have one, and the step from one to the next.
Place = tuple[int, int, int]


@dataclass(frozen=True)
class External:
    """An input of a chain.

    Attributes:
        role: in the kernel; name: of the buffer; kind: how it is read; dtype: of its numbers.
        places: of the pixels of a smaller map; made: what these are called there. A map may have several.
    """

    role: str
    name: str
    kind: str
    dtype: str = "float32"
    places: tuple[Place, ...] = ()
    made: str = ""


@dataclass(frozen=True)
class Chain:
    """Operations on registers.

    Attributes:
        given: buffers whose values the surrounding kernel has in registers.
        externals: what is loaded.
        body: the operations in order.
        stores: (role, buffer) of the results that are written.
    """

    given: tuple[str, ...]
    externals: tuple[External, ...]
    body: tuple[Operation, ...]
    stores: tuple[tuple[str, str], ...]

    @property
    def names(self) -> dict[str, str]:
        """Buffer -> what stands for it, whatever it is called."""
        names = {name: f"g{i}" for i, name in enumerate(self.given)}
        names.update((e.name, e.role) for e in self.externals)
        for i, op in enumerate(self.body):
            names.update((name, f"v{i}.{j}") for j, name in enumerate(op.outputs))
        return names

    @property
    def identity(self) -> str:
        """What the chain does, whatever the buffers are called."""
        names, parts = self.names, []
        for op in self.body:
            arguments = ",".join(names[n] for n in read_inputs(op))
            parts.append(f"{op.operator}({arguments}){identity(op.attrs)}")
        kinds = ",".join(f"{e.role}:{e.kind}:{e.dtype}" for e in self.externals)
        return f"[{kinds}|{';'.join(parts)}|{','.join(f'{r}={names[n]}' for r, n in self.stores)}]"

    @property
    def placed(self) -> list[External]:
        """The smaller maps."""
        return [e for e in self.externals if e.kind == "placed"]

    @property
    def reads(self) -> dict[str, str]:
        return {e.role: e.name for e in self.externals}

    @property
    def writes(self) -> dict[str, str]:
        return dict(self.stores)

    def apply(
        self,
        k: Kernel,
        given: Sequence[Value],
        offset: Index,
        channel: Index | int,
        mask: Value | None = None,
        held: Mapping[str, Value] | None = None,
    ) -> None:
        """Emit the chain for one vector.

        Args:
            given: values of `self.given`.
            offset: of the vector in the full tensors; channel: in the rows of weights.
            mask: lanes that exist.
            held: role -> value, for externals that the caller has loaded already; those that are "placed"
                always are.
        """
        self.write(k, self.values(k, given, offset, channel, mask, held), offset, mask)

    def write(self, k: Kernel, values: Mapping[str, Value], offset: Index, mask: Value | None) -> None:
        """Store the results that somebody needs."""
        for role, name in self.stores:
            store(k, values[name], role, offset, mask)

    def values(
        self,
        k: Kernel,
        given: Sequence[Value],
        offset: Index,
        channel: Index | int,
        mask: Value | None = None,
        held: Mapping[str, Value] | None = None,
    ) -> dict[str, Value]:
        """Name -> value of all that the chain has and makes for one vector; arguments as of `apply`."""

        def read(e: External) -> Value:
            if held and e.role in held:
                return held[e.role]
            if e.kind == "scalar":
                return load_everywhere(k, e.role, 0, e.dtype)
            return load(k, e.role, channel if e.kind == "channel" else offset, mask, e.dtype)

        return self.computed(k, given, read)

    def computed(
        self, k: Kernel, given: Sequence[Value], read: Callable[[External], Value]
    ) -> dict[str, Value]:
        """As `values`, with a function that loads an input."""
        values = dict(zip(self.given, given))
        values.update((e.made or e.name, read(e)) for e in self.externals)
        for op in self.body:
            if op.operator == PLACING:
                continue
            if op.operator in ("fill", "fill_like"):
                values[op.outputs[0]] = k.constant(op.attrs["value"], lanes_of(k, op.attrs["dtype"]))
                continue
            inputs = [values[n] for n in read_inputs(op)]
            values[op.outputs[0]] = EMITTERS[op.operator](op.attrs, *inputs)
        return values


def make_chain(
    plan: Plan,
    body: Sequence[Operation],
    given: Sequence[str],
    shape: tuple[int | None, ...],
    wanted: Sequence[str],
    spreads: bool = False,
    also: Sequence[str] = (),
) -> Chain | None:
    """The chain of operations on a tensor of this shape, or None if one of them has no emitter.

    Args:
        wanted: buffers that are needed afterwards.
        spreads: whether inputs may be repeated along any axes.
        also: buffers that the surrounding kernel wants, read if no operation makes them.
    """
    made = set(given)
    externals: dict[str, External] = {}

    def fits(name: str) -> bool:
        if name not in made and name not in externals:
            kind = operand_kind(plan.buffers[name], shape, spreads)
            if kind is None:
                return False
            externals[name] = External(f"e{len(externals)}", name, kind, plan.dtype(name))
        return True

    for op in body:
        if op.operator == PLACING:
            (name,), (result,) = op.inputs, op.outputs
            places, dtype = tuple(op.attrs["places"][1:-1]), plan.dtype(name)
            externals[result] = External(f"e{len(externals)}", name, "placed", dtype, places, result)
            made.add(result)
            continue
        if not has_code(op, plan.buffers) or not all(map(fits, read_inputs(op))):
            return None
        made.update(op.outputs)
    if not all(map(fits, also)):
        return None
    stores = tuple((f"o{i}", name) for i, name in enumerate(wanted))
    return Chain(tuple(given), tuple(externals.values()), tuple(body), stores)


def operand_kind(buffer: Buffer, shape: tuple[int | None, ...], spreads: bool = False) -> str | None:
    """How a buffer is read next to a tensor of this shape; None if chains cannot.

    Args:
        spreads: whether it may be repeated along any axes.
    """
    other = buffer.shape
    if buffer.dtype not in ELEMENTS:
        return None
    if other == shape:
        return "full"
    if not has_images(other) and per_image(other) == 1 and len(other) <= max(len(shape), 1):
        return "scalar"
    if not has_images(other) and shape and other[-1:] == shape[-1:] and per_image(other) == shape[-1]:
        return "channel"
    return "spread" if spreads and find_spread(shape, {"x": other}) is not None else None


def lower_single(plan: Plan, op: Operation) -> bool:
    """An operation entry by entry on its own."""
    shape = plan.shape(op.outputs[0])
    return lower_chain(plan, op, (op,), op.outputs, shape)


def lower_chain(
    plan: Plan, op: Operation, body: Sequence[Operation], wanted: Sequence[str], shape: tuple[int | None, ...]
) -> bool:
    """A chain over memory."""
    chain = make_chain(plan, body, (), shape, wanted, spreads=True)
    if chain is None:
        return False
    if any(e.kind == "spread" for e in chain.externals):
        return _lower_spread(plan, op, chain, shape)
    channels = (shape[-1] or 0) if any(e.kind == "channel" for e in chain.externals) else 0
    size, images = per_image(shape), has_images(shape)
    flops = (float(size * len(body)), 0.0) if images else (0.0, float(size * len(body)))
    tasks = IMAGES if images else Tasks(fixed=max(-(-size // BLOCK), 1))
    if channels and not images:
        tasks = Tasks(fixed=size // channels)
    pieces = size // channels if channels else whole_pieces(size, plan.target.width)
    plan.call(
        op,
        ChainPass(chain, size, channels, images),
        chain.reads,
        chain.writes,
        tasks,
        flops=flops,
        note=" + ".join(o.operator for o in body),
        split=in_pieces(ChainPass(chain, size // pieces, channels, images), size, pieces) if images else None,
    )
    return True


@dataclass(frozen=True)
class ChainPass:
    """A chain over memory.

    Attributes:
        size: numbers of an image, or of the tensor; channels: of the last axis if a row of weights is read;
            images: whether tasks are images.
    """

    chain: Chain
    size: int
    channels: int
    images: bool

    def emit(self, k: Kernel) -> None:
        if self.channels:
            rows = self.size // self.channels if self.images else 1
            _emit_rows(k, self.chain, k.lo * rows, k.hi * rows, self.channels)
        elif self.images:
            emit_flat(
                k, k.lo * self.size, k.hi * self.size, lambda at, mask: self.chain.apply(k, (), at, 0, mask)
            )
        else:
            end = k.minimum(k.hi * BLOCK, self.size)
            emit_flat(k, k.lo * BLOCK, end, lambda at, mask: self.chain.apply(k, (), at, 0, mask))


def _emit_rows(k: Kernel, chain: Chain, lo: Index, hi: Index, channels: int) -> None:
    """Row by row of the last axis, so many vectors at a time that their weights stay in registers.

    Where that is not the whole row, a few rows after the others: memory is read in order, as it is fetched.
    """
    small = sum(e.kind != "full" for e in chain.externals)
    most = max(k.target.registers // 2 // small, 1)
    if channels <= most * k.width:
        _emit_window(k, chain, lo, hi, channels, most)
        return
    step = window(channels)
    with k.loop(lo, hi, step) as start:
        _emit_window(k, chain, start, k.minimum(start + step, hi), channels, most)


def _emit_window(k: Kernel, chain: Chain, lo: Index, hi: Index, channels: int, most: int) -> None:
    """Some rows, `most` vectors of all of them after the others."""
    small = [e for e in chain.externals if e.kind != "full"]
    for first, tile in blocks(k, channels, most):
        held = [
            {
                e.role: load_everywhere(k, e.role, 0, e.dtype)
                if e.kind == "scalar"
                else load(k, e.role, first + c, mask, e.dtype)
                for e in small
            }
            for c, mask in tile
        ]
        with k.loop(lo, hi) as row:
            at = row * channels + first
            for (c, mask), known in zip(tile, held):
                chain.apply(k, (), at + c, first + c, mask, known)


def _lower_spread(plan: Plan, op: Operation, chain: Chain, shape: tuple[int | None, ...]) -> bool:
    """A chain over memory with inputs that are repeated along some axes."""
    spread = find_spread(shape, {e.role: plan.shape(e.name) for e in chain.externals})
    if spread is None:
        return False
    images, work = has_images(shape), float(per_image(shape) * len(chain.body))
    plan.call(
        op,
        SpreadPass(chain, spread),
        chain.reads,
        chain.writes,
        IMAGES if images else Tasks(fixed=spread.tasks),
        flops=(work, 0.0) if images else (0.0, work),
        note=" + ".join(o.operator for o in chain.body),
    )
    return True


@dataclass(frozen=True)
class SpreadPass:
    """A chain over memory whose inputs are each passed through in their own way."""

    chain: Chain
    spread: Spread

    def emit(self, k: Kernel) -> None:
        inputs = {e.role: e for e in self.chain.externals}
        for starts, y in self.spread.rows(k):
            # What is the same for the whole row is read before it.
            held = {
                role: load_everywhere(k, role, starts[role], inputs[role].dtype)
                for role in inputs
                if self.spread.is_constant(role)
            }

            def body(
                c: Index | int,
                mask: Value | None,
                starts: Mapping[str, Index] = starts,
                y: Index = y,
                held: Mapping[str, Value] = held,
            ) -> None:
                def read(e: External) -> Value:
                    return held.get(e.role) or load(k, e.role, starts[e.role] + c, mask, e.dtype)

                self.chain.write(k, self.chain.computed(k, (), read), y + c, mask)

            lanes(k, self.spread.counts[-1], body)
