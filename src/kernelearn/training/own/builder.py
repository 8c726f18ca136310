"""The program of a step of one's own, while the user's code adds to it: weights may be read behind an update.

A weight that is read again behind its update is another buffer there, `dense/kernel@1`: what was computed
before stays what it was. `segments` cuts the operations so that each program sees one version of a weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernelearn.engine.program import Buffer, Operation, ProgramBuilder
from kernelearn.engine.variable import Variable

if TYPE_CHECKING:
    from kernelearn.optimizers import Optimizer


@dataclass(frozen=True)
class Use:
    """One update by an optimiser.

    Attributes:
        optimizer: which.
        number: how many updates of the same optimiser come before it in the step.
        rate, count: names of the inputs with the learning rate and with the number of the update.
        loss: name of the buffer that has to be finite for it; None where nobody said.
    """

    optimizer: Optimizer
    number: int
    rate: str
    count: str
    loss: str | None


@dataclass
class Groups:
    """Which update operations were made together: they are done together, or not at all.

    Attributes:
        uses: the updates by optimisers, in order.
        of: id(update operation) -> number in `uses`; None for others, such as moving averages.
    """

    uses: list[Use] = field(default_factory=list)
    of: dict[int, int | None] = field(default_factory=dict)
    current: int | None = None


class StepBuilder(ProgramBuilder):
    """Builds the program of a step of one's own.

    Args:
        training, dtype, batch: see `ProgramBuilder`.
    Attributes:
        groups: the updates by optimisers.
        made_versions: name of a weight -> the update operations that changed it, in order.
        weight_gradients: names of the gradients by weights that the code has asked for.
        applied: names of those that optimisers were given.
    """

    def __init__(self, training: bool = False, dtype: str = "float32", batch: int | None = None) -> None:
        super().__init__(training, dtype, batch)
        self.groups = Groups()
        self.made_versions: dict[str, list[Operation]] = {}
        self.weight_gradients: set[str] = set()
        self.applied: set[str] = set()

    def variable(self, variable: Variable, role: str = "parameter", trainable: bool = True) -> Buffer:
        """The buffer of a weight as it is now: behind an update another one than before."""
        buffer = super().variable(variable, role, trainable)
        number = len(self.made_versions.get(buffer.name, ()))
        if not number:
            return buffer
        name = version_name(buffer.name, number)
        self.variables[name] = variable
        if trainable and role == "parameter":
            self.trainable.add(name)
        return self.buffers.setdefault(name, Buffer(name, buffer.shape, buffer.dtype, buffer.role))

    def update(
        self, operator: str, inputs: Iterable[Buffer], outputs: Iterable[Buffer], **attrs: Any
    ) -> None:
        """As of every builder; what it writes are the weights themselves, whichever version was read."""
        written = [self.buffers[base_name(b.name)] for b in outputs]
        read = [self.buffers[base_name(b.name)] for b in inputs]
        super().update(operator, read, written, **attrs)
        made = self.operations[-1]
        for buffer in written:
            self.made_versions.setdefault(buffer.name, []).append(made)

    def _append(self, *parts: Any) -> None:
        super()._append(*parts)
        made = self.operations[-1]
        if made.phase == "update":
            self.groups.of[id(made)] = self.groups.current

    def versions(self, variable: Variable) -> list[str]:
        """The names of all buffers that a weight has been read by."""
        return [name for name, known in self.variables.items() if known is variable]

    def begin_use(self, optimizer: Optimizer, loss: Buffer | None) -> tuple[Buffer, Buffer]:
        """The learning rate and the number of the next update by an optimiser; what follows are its updates.

        Args:
            loss: what has to be finite.
        """
        number = sum(use.optimizer is optimizer for use in self.groups.uses)
        at = len(self.groups.uses)
        tail = f"_{at}" if at else ""
        rate, count = (
            self.input(f"learning_rate{tail}", (), "float64"),
            self.input(f"update{tail}", (), "int64"),
        )
        use = Use(optimizer, number, rate.name, count.name, None if loss is None else loss.name)
        self.groups.uses.append(use)
        self.groups.current = at
        return rate, count

    def end_use(self) -> None:
        """Updates that follow belong to no optimiser."""
        self.groups.current = None


def version_name(name: str, number: int) -> str:
    """The buffer of a weight behind so many updates."""
    return f"{name}@{number}" if number else name


def base_name(name: str) -> str:
    """The buffer of a weight before any update."""
    stem, at, number = name.rpartition("@")
    return stem if at and number.isdigit() else name


def version_of(name: str) -> int:
    """How many updates lie before a buffer of a weight."""
    _, at, number = name.rpartition("@")
    return int(number) if at and number.isdigit() else 0


def weights_read(op: Operation, known: Sequence[str]) -> list[str]:
    """The inputs of an operation that are weights."""
    return [name for name in op.inputs if base_name(name) in known]
