"""A training step whose batch is cut into shards: each is computed alone, and the fixed tree adds them up.

    shard s of S    forward, backward, on rows [s n / S, (s + 1) n / S) of the batch, with a seed of its own
    tree            sum over shards of (rows of s / n) times what it gave
    rest            one update of the weights, on every process the same

So the weights do not depend on how many processes share the shards, nor on their threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kernelearn.engine.backends import Executable, prepare
from kernelearn.engine.program import Program
from kernelearn.engine.variable import Variable
from kernelearn.errors import KernelearnError
from kernelearn.parallel.exchange import Exchange
from kernelearn.parallel.tree import Node, cover, rows_of, share_of, value_of
from kernelearn.training.own.afterwards import Afterwards
from kernelearn.training.steps.cutting import CUT, CutStep, cut_step
from kernelearn.training.steps.programs import StepProgram
from kernelearn.training.steps.step import LOSS, Arrays, Batch, Clock, StepResult

Vectors = dict[str, np.ndarray]  # name of a type -> numbers of that type
# Added to the seed for every shard: random numbers belong to images, not to processes.
_SEED_STEP = 0x9E3779B9


class NotRun:
    """The whole step as one program, to look at: it is run in shards."""

    def __init__(self, program: Program, variables: Mapping[str, Variable], engine: str) -> None:
        self.program, self.engine = program, engine
        self.variables = {b.name: variables[b.name] for b in program.weights()}

    def run(self, inputs: Mapping[str, np.ndarray], is_checked: bool = False) -> dict[str, np.ndarray]:
        """Refused."""
        raise KernelearnError("This step runs in shards: call its run(batch, clock).")


@dataclass(frozen=True)
class Shards:
    """How a batch is shared out.

    Attributes:
        count: shards of a batch, on all processes together.
        exchange: with the other processes.
        is_sum: numbers of the outputs whose loss is a sum over images and no mean.
    """

    count: int
    exchange: Exchange
    is_sum: tuple[int, ...] = ()


@dataclass(frozen=True)
class ShardedStep(StepProgram):
    """A training step in shards; used like any other.

    Attributes:
        shards: how.
        parts: the programs, made ready.
    """

    shards: Shards = field(kw_only=True)
    parts: _Parts = field(kw_only=True)

    def run(self, batch: Batch, clock: Clock | None = None) -> StepResult:
        """Run the step once, on this process's shards; a loss that is not finite changes nothing."""
        assert clock is not None
        shards, parts = self.shards, self.parts
        root = (0, shards.count)
        own = share_of(shards.exchange.rank, shards.exchange.size, shards.count)
        rows: dict[str, list[np.ndarray]] = {label: [] for label in parts.by_row}

        def leaf(number: int) -> Vectors | None:
            return parts.computed(shards, number, batch, clock, rows)

        nodes = {node: value_of(node, leaf, _add) for node in cover(root, own)}
        means = parts.combined(shards, nodes)
        outputs: Arrays = {label: means[label] for label in parts.program.outputs if label in means}
        for label, found in rows.items():
            outputs[label] = shards.exchange.in_order(
                np.concatenate(found) if found else parts.no_rows(label)
            )
        if np.isfinite(outputs[LOSS]):
            given = {value.name: means[CUT + value.name] for value in parts.cut.values}
            outputs.update(parts.rest.run({**given, **clock.arrays()}, is_checked=True))
        result = StepResult(outputs)
        for action in self.afterwards:
            action.do(result.outputs)
        return result

    def keeping(self, buffers: Mapping[str, str]) -> ShardedStep:
        """A step that gives these buffers too: those with a row an image from all shards, in order."""
        program = self.program.keeping(**buffers)
        engine = self.executable.engine
        return sharded(program, self.variables, engine, self.afterwards, self.shards)

    def changed(self, program: Program) -> StepProgram:
        """Another program with the same variables, on the whole batch at once."""
        return StepProgram(self.kind, prepare(program, self.variables, self.executable.engine))


def sharded(
    program: Program,
    variables: Mapping[str, Variable],
    engine: str,
    afterwards: Sequence[Afterwards],
    shards: Shards,
) -> ShardedStep:
    """A training step, in shards.

    Raises: ArgumentError for a step that cannot be cut, see `cut_step`.
    """
    parts = _Parts.of(program, variables, engine)
    whole = NotRun(program, variables, engine)
    return ShardedStep("train", whole, afterwards, shards=shards, parts=parts)


@dataclass(frozen=True)
class _Parts:
    """The programs of a sharded step, and where their outputs go.

    Attributes:
        by_row: labels of outputs with a row an image; True for gradients, which count by their shard's share.
        means: label -> shape of the others, which are combined, in the order of a vector of their type.
    """

    program: Program
    cut: CutStep
    shard: Executable
    rest: Executable
    by_row: Mapping[str, bool]
    means: Mapping[str, tuple[str, tuple[int, ...]]]

    @classmethod
    def of(cls, program: Program, variables: Mapping[str, Variable], engine: str) -> _Parts:
        """Cut a step and make its parts ready."""
        cut = cut_step(program)
        early = {name for op in cut.shard.operations for name in op.outputs}
        labels = {label: n for label, n in cut.shard.outputs.items() if n in early or label.startswith(CUT)}
        late = {label: name for label, name in program.outputs.items() if label not in labels}
        shard = replace(cut.shard, outputs=labels)
        rest = replace(cut.rest, outputs=late)
        found = {label: program.buffers[name] for label, name in labels.items()}
        gradients = set(program.gradients.values())
        by_row = {n: b.name in gradients for n, b in found.items() if b.shape[:1] == (None,)}
        means = {
            n: (b.dtype, tuple(int(size or 0) for size in b.shape))
            for n, b in found.items()
            if n not in by_row
        }
        return cls(
            program, cut, prepare(shard, variables, engine), prepare(rest, variables, engine), by_row, means
        )

    def computed(
        self, shards: Shards, number: int, batch: Batch, clock: Clock, rows: dict[str, list[np.ndarray]]
    ) -> Vectors | None:
        """What one shard adds to the sums; None for one without images. Rows of images are kept apart."""
        taken = rows_of(number, shards.count, batch.rows)
        count = taken.stop - taken.start
        if not count:
            return None
        share = count / batch.rows
        arrays = batch.taken(taken)
        for index in shards.is_sum:
            arrays[f"weight_{index}"] = arrays[f"weight_{index}"] / arrays[f"weight_{index}"].dtype.type(
                share
            )
        seed = (clock.seed + number * _SEED_STEP) & 0x7FFFFFFFFFFFFFFF
        given = {**arrays, **replace(clock, seed=seed).arrays()}
        found = self.shard.run(given, is_checked=True)
        for label, is_gradient in self.by_row.items():
            array = found[label]
            rows[label].append(array * array.dtype.type(share) if is_gradient else array)
        return {kind: self._vector(found, kind, share) for kind in self._kinds()}

    def _kinds(self) -> list[str]:
        return sorted({dtype for dtype, _ in self.means.values()})

    def _vector(self, found: Mapping[str, np.ndarray], kind: str, share: float) -> np.ndarray:
        """All numbers of a type, one behind the other, times the shard's share."""
        arrays = [np.ravel(found[label]) for label, (dtype, _) in self.means.items() if dtype == kind]
        vector = np.concatenate(arrays)
        vector *= vector.dtype.type(share)
        return vector

    def combined(self, shards: Shards, nodes: Mapping[Node, Vectors | None]) -> Arrays:
        """Label -> mean over all images of all processes."""
        found: Arrays = {}
        for kind in self._kinds():
            labels = [(label, shape) for label, (dtype, shape) in self.means.items() if dtype == kind]
            length = sum(int(np.prod(shape, dtype=int)) for _, shape in labels)
            own = {node: None if vectors is None else vectors[kind] for node, vectors in nodes.items()}
            total = shards.exchange.combine(shards.count, own, np.zeros(length, kind))
            place = 0
            for label, shape in labels:
                size = int(np.prod(shape, dtype=int))
                found[label] = total[place : place + size].reshape(shape)
                place += size
        return found

    def no_rows(self, label: str) -> np.ndarray:
        """What a process without images gives of an output with a row an image."""
        buffer = self.program.buffers[self.program.outputs[label]]
        return np.zeros((0, *(int(size or 0) for size in buffer.shape[1:])), buffer.dtype)


def _add(first: Vectors, second: Vectors) -> Vectors:
    """Add the second part to the first."""
    for kind, vector in first.items():
        vector += second[kind]
    return first
