"""A training step whose batch is cut into shards: each is computed alone, and the fixed tree adds them up.

    shard s of S    forward, backward, on rows [s n / S, (s + 1) n / S) of the batch, with a seed of its own
    tree            sum over shards of (rows of s / n) times what it gave; also on the way, where statistics
                    of the whole batch are asked for
    rest            one update of the weights, on every process the same

So the weights do not depend on how many processes share the shards, nor on their threads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kernelearn.engine.backends import Executable, prepare
from kernelearn.engine.program import Buffer, Program
from kernelearn.engine.variable import Variable
from kernelearn.errors import KernelearnError
from kernelearn.parallel.exchange import Exchange
from kernelearn.parallel.tree import cover, rows_of, share_of, value_of
from kernelearn.training.own.afterwards import Afterwards
from kernelearn.training.steps.cutting import CUT, CutStep, cut_step
from kernelearn.training.steps.programs import StepProgram
from kernelearn.training.steps.step import LOSS, Arrays, Batch, Clock, StepResult, weight_name
from kernelearn.training.steps.synchronizing import synchronized

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
        moving_means: of the normalisations that want statistics of the whole batch.
    """

    count: int
    exchange: Exchange
    is_sum: tuple[int, ...] = ()
    moving_means: tuple[Variable, ...] = ()


@dataclass(frozen=True)
class ShardedStep(StepProgram):
    """A training step in shards; used like any other.

    Attributes:
        shards: how.
        parts: the programs, made ready.
    """

    shards: Shards = field(kw_only=True)
    parts: Parts = field(kw_only=True)

    def run(self, batch: Batch, clock: Clock | None = None) -> StepResult:
        """Run the step once, on this process's shards; a loss that is not finite changes nothing."""
        assert clock is not None
        parts = self.parts
        running = Running(parts, self.shards, batch, clock)
        means = running.means()
        outputs: Arrays = {label: means[label] for label in parts.program.outputs if label in means}
        outputs.update(running.rows())
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

    Raises: ArgumentError for a step that cannot be cut, see `cut_step` and `synchronized`.
    """
    parts = Parts.of(program, variables, engine, shards.moving_means)
    whole = NotRun(program, variables, engine)
    return ShardedStep("train", whole, afterwards, shards=shards, parts=parts)


@dataclass(frozen=True)
class Parts:
    """The programs of a sharded step, and where their outputs go.

    Attributes:
        stages: of a shard, in order, made ready.
        on_the_way: for every stage but the last, what is exchanged behind it.
        means: what is combined at the end.
        by_row: labels of outputs with a row an image; True for gradients, which count by their shard's share.
        inputs: label -> name of the outputs that are inputs.
    """

    program: Program
    cut: CutStep
    stages: Sequence[Executable]
    rest: Executable
    on_the_way: Sequence[Layout]
    means: Layout
    by_row: Mapping[str, bool]
    inputs: Mapping[str, str]

    @classmethod
    def of(
        cls,
        program: Program,
        variables: Mapping[str, Variable],
        engine: str,
        moving_means: Collection[Variable],
    ) -> Parts:
        """Cut a step and make its parts ready."""
        found = synchronized(program, moving_means, variables)
        cut = cut_step(found.program, found.exchanged)
        given = {
            label: found.program.buffers[name]
            for stage in cut.stages
            for label, name in stage.program.outputs.items()
            if label in program.outputs or label.startswith(CUT)
        }
        inputs = {n: b for n, b in program.outputs.items() if program.buffers[b].role == "input"}
        late = {n: b for n, b in program.outputs.items() if n not in given and n not in inputs}
        asked = {name: program.buffers[name] for name in late.values()}
        rest = replace(cut.rest, outputs=late, buffers={**asked, **cut.rest.buffers})
        gradients = set(program.gradients.values())
        by_row = {n: b.name in gradients for n, b in given.items() if b.shape[:1] == (None,)}
        return cls(
            program,
            cut,
            [prepare(stage.program, variables, engine) for stage in cut.stages],
            prepare(rest, variables, engine),
            [Layout.of({n: found.program.buffers[n] for n in stage.exchanged}) for stage in cut.stages[:-1]],
            Layout.of({label: buffer for label, buffer in given.items() if label not in by_row}),
            by_row,
            inputs,
        )

    def no_rows(self, label: str) -> np.ndarray:
        """What a process without images gives of an output with a row an image."""
        buffer = self.program.buffers[self.program.outputs[label]]
        return np.zeros((0, *(int(size or 0) for size in buffer.shape[1:])), buffer.dtype)


@dataclass(frozen=True)
class Layout:
    """Arrays one behind the other, in a vector for each type.

    Attributes:
        places: type -> name and shape of each array, in order.
    """

    places: Mapping[str, Sequence[tuple[str, tuple[int, ...]]]]

    @classmethod
    def of(cls, buffers: Mapping[str, Buffer]) -> Layout:
        """For buffers by their labels."""
        places: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
        for label, buffer in buffers.items():
            shape = tuple(int(size or 0) for size in buffer.shape)
            places.setdefault(buffer.dtype, []).append((label, shape))
        return cls(places)

    def vectors(self, found: Mapping[str, np.ndarray], share: float) -> Vectors:
        """All arrays, times the share that their shard has of the images."""
        made: Vectors = {}
        for dtype, arrays in self.places.items():
            vector = np.concatenate([np.ravel(found[label]) for label, _ in arrays])
            vector *= vector.dtype.type(share)
            made[dtype] = vector
        return made

    def arrays(self, combined: Callable[[str, int], np.ndarray]) -> Arrays:
        """Label -> array, from the vector of each type.

        Args:
            combined: (type, length) -> the vector.
        """
        found: Arrays = {}
        for dtype, arrays in self.places.items():
            sizes = [int(np.prod(shape, dtype=int)) for _, shape in arrays]
            pieces = np.split(combined(dtype, sum(sizes)), np.cumsum(sizes)[:-1])
            found.update((label, piece.reshape(shape)) for (label, shape), piece in zip(arrays, pieces))
        return found


class Running:
    """One run of a sharded step on this process: its shards, from exchange to exchange."""

    def __init__(self, parts: Parts, shards: Shards, batch: Batch, clock: Clock) -> None:
        self.parts, self.shards, self.batch, self.clock = parts, shards, batch, clock
        self._own = share_of(shards.exchange.rank, shards.exchange.size, shards.count)
        self._rows: dict[str, list[np.ndarray]] = {label: [] for label in parts.by_row}
        self._kept: dict[int, Arrays] = {}  # number of a shard -> what later stages read of it
        self._of_all: Arrays = {}

    def means(self) -> Arrays:
        """Label -> mean over all images of all processes, of what has one."""
        for number, layout in enumerate(self.parts.on_the_way):
            names = self.parts.cut.stages[number].exchanged
            found = self._combined(number, layout)
            self._of_all.update((names[name], array) for name, array in found.items())
        return self._combined(len(self.parts.stages) - 1, self.parts.means)

    def rows(self) -> Arrays:
        """Label -> array of the outputs with a row an image, of all processes, and of inputs."""
        whole = {}
        for label, found in self._rows.items():
            array = np.concatenate(found) if found else self.parts.no_rows(label)
            whole[label] = self.shards.exchange.in_order(array)
        whole.update((label, self._input(name)) for label, name in self.parts.inputs.items())
        return whole

    def _input(self, name: str) -> np.ndarray:
        """An input of the step, with the rows that other processes have."""
        batch = self.batch
        if name not in batch.arrays:
            return self.clock.arrays()[name]
        is_part = batch.held is not None and name in batch.inputs()
        return self.shards.exchange.in_order(batch.arrays[name]) if is_part else batch.arrays[name]

    def _combined(self, stage: int, layout: Layout) -> Arrays:
        """Run a stage of all shards of this process; the means of what it has to give."""
        count = self.shards.count

        def leaf(number: int) -> Vectors | None:
            return self._computed(stage, number, layout)

        nodes = {node: value_of(node, leaf, _add) for node in cover((0, count), self._own)}

        def of_all(dtype: str, length: int) -> np.ndarray:
            held = {node: None if vectors is None else vectors[dtype] for node, vectors in nodes.items()}
            return self.shards.exchange.combine(count, held, np.zeros(length, dtype))

        return layout.arrays(of_all)

    def _computed(self, stage: int, number: int, layout: Layout) -> Vectors | None:
        """What one shard adds to the means behind a stage; None for one without images."""
        taken = rows_of(number, self.shards.count, self.batch.rows)
        count = taken.stop - taken.start
        if not count:
            return None
        share = count / self.batch.rows
        is_last = stage == len(self.parts.stages) - 1
        kept = self._kept.pop(number, {}) if is_last else self._kept.setdefault(number, {})
        given = {**self._inputs(number, taken, share), **self._of_all, **kept}
        found = self.parts.stages[stage].run(given, is_checked=True)
        for label in found.keys() & self.parts.by_row.keys():
            array = found[label]
            self._rows[label].append(array * array.dtype.type(share) if self.parts.by_row[label] else array)
        if is_last:
            return layout.vectors({**kept, **found}, share)
        kept.update((name, array) for name, array in found.items() if name not in self.parts.by_row)
        return layout.vectors(found, share)

    def _inputs(self, number: int, taken: slice, share: float) -> Arrays:
        """The inputs of a shard."""
        arrays = self.batch.taken(taken)
        for index in self.shards.is_sum:
            name = weight_name(index)
            arrays[name] = arrays[name] / arrays[name].dtype.type(share)
        seed = (self.clock.seed + number * _SEED_STEP) & 0x7FFFFFFFFFFFFFFF
        return {**arrays, **replace(self.clock, seed=seed).arrays()}


def _add(first: Vectors, second: Vectors) -> Vectors:
    """Add the second part to the first."""
    for kind, vector in first.items():
        vector += second[kind]
    return first
