"""What goes into a step and what comes out of it, under the names that its program has for them.

A step is one run of a program: "train", "test" or "predict". `building` makes the programs, `programs` runs
them; the names of their inputs and outputs stand here alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kernelearn.optimizers import Optimizer

Arrays = dict[str, np.ndarray]

# --- names of inputs and outputs

LOSS = "loss"
SEED, STEP, UPDATE, LEARNING_RATE = "seed", "step", "update", "learning_rate"


def input_name(index: int) -> str:
    """The program input that holds the model's input number `index`."""
    return f"x_{index}"


def target_name(index: int) -> str:
    """The program input that holds the targets of output number `index`."""
    return f"y_true_{index}"


def weight_name(index: int) -> str:
    """The program input that holds the sample weights of output number `index`."""
    return f"weight_{index}"


def prediction_name(index: int) -> str:
    """The program output that holds the model's output number `index`."""
    return f"y_pred_{index}"


def loss_name(index: int) -> str:
    """The program output that holds the loss of output number `index`."""
    return f"{LOSS}_{index}"


# --- what goes in


@dataclass(frozen=True)
class Clock:
    """The inputs of a step that are no data.

    Attributes:
        seed: of dropout and augmentation.
        iterations: updates done before this step.
        learning_rate: of its update.
    """

    seed: int = 0
    iterations: int = 0
    learning_rate: float = 0.0

    @classmethod
    def of(cls, optimizer: Optimizer, seed: int) -> Clock:
        """The clock of an optimiser's next step."""
        return cls(seed, int(optimizer.iterations), float(optimizer.learning_rate))

    def arrays(self) -> Arrays:
        """As program inputs."""
        return {
            SEED: np.asarray(self.seed, np.int64),
            STEP: np.asarray(self.iterations, np.int64),
            UPDATE: np.asarray(self.iterations + 1, np.int64),
            LEARNING_RATE: np.asarray(self.learning_rate, np.float64),
        }


@dataclass(frozen=True)
class Given:
    """What a batch brings besides inputs, for code that takes any: hashable.

    Attributes:
        y: form of the targets (see `training.own.forms`), or "none".
        weight: of the sample weights, or "none".
        specs: name of a program input -> its shape, batch first, and type.
    """

    y: Any
    weight: Any
    specs: tuple[tuple[str, tuple[int | None, ...], str], ...]


@dataclass(frozen=True)
class Batch:
    """The data of a step.

    Attributes:
        arrays: name of a program input -> contiguous array of its type and shape.
        rows: number of samples.
        given: the form of targets and weights, where the model's own `compute_loss` takes them as they come.
        held: which rows of the model's inputs are here, where other processes read the others; None for all.
            Targets and weights are here for all rows.
    """

    arrays: Arrays
    rows: int
    given: Given | None = None
    held: slice | None = None

    @classmethod
    def of(cls, arrays: Arrays) -> Batch:
        """A batch of arrays under the names of the program's inputs."""
        return cls(arrays, len(arrays[input_name(0)]))

    def inputs(self) -> Arrays:
        """The arrays of the model's inputs."""
        names = takewhile(self.arrays.__contains__, map(input_name, count()))
        return {name: self.arrays[name] for name in names}

    def taken(self, rows: slice) -> Arrays:
        """Some rows of all arrays, of those that are here."""
        held = self.inputs() if self.held is not None else {}
        first = 0 if self.held is None else self.held.start
        here = slice(rows.start - first, rows.stop - first)
        return {name: array[here if name in held else rows] for name, array in self.arrays.items()}

    def target(self, index: int) -> np.ndarray | None:
        """Targets of an output; None if it has neither loss nor metrics."""
        return self.arrays.get(target_name(index))

    def weight(self, index: int) -> np.ndarray | None:
        """Sample weights of an output; None if it has neither loss nor metrics."""
        return self.arrays.get(weight_name(index))

    def weighted_positions(self, outputs: int) -> tuple[int, ...]:
        """Numbers of the outputs with a weight for each position, not for each sample."""
        weights = [self.weight(index) for index in range(outputs)]
        return tuple(i for i, weight in enumerate(weights) if weight is not None and weight.ndim > 1)

    def class_numbers(self) -> np.ndarray | None:
        """(n,) int64 class of each sample by the first output's targets; None if these are no classes."""
        targets = self.target(0)
        return None if targets is None else class_numbers(targets)


def class_numbers(targets: np.ndarray) -> np.ndarray | None:
    """(n,) int64 class of each sample; None for targets that are no classes.

    Args:
        targets: class numbers (n,) or (n, 1), integers, booleans or binary ones of any type; or one-hot rows.
    """
    is_binary = bool(((targets == 0) | (targets == 1)).all())
    if targets.size == len(targets) and (targets.dtype.kind in "iub" or is_binary):
        return targets.reshape(-1).astype(np.int64, copy=False)
    if targets.ndim == 2 and targets.shape[1] > 1 and is_binary and bool((targets.sum(1) == 1).all()):
        classes: np.ndarray = targets.argmax(1)
        return classes
    return None


# --- what comes out


@dataclass(frozen=True)
class StepResult:
    """What a step gave.

    Attributes:
        outputs: name of a program output -> array: a loss, predictions, and buffers that were asked for.
    """

    outputs: Mapping[str, np.ndarray]

    @property
    def loss(self) -> float:
        """Of the batch, penalties included."""
        return float(self.outputs[LOSS])

    def loss_of(self, index: int) -> float:
        """The loss of output number `index`, without penalties and weight."""
        return float(self.outputs[loss_name(index)])

    def prediction(self, index: int) -> np.ndarray:
        """The model's output number `index`."""
        return self.outputs[prediction_name(index)]

    def buffers(self, labels: Mapping[str, str]) -> Arrays:
        """The buffers that were asked for, by their labels."""
        return {label: self.outputs[label] for label in labels}


@dataclass(frozen=True)
class StepReport:
    """What one training step was and did, for callbacks that asked with `Trainer.watch_step`.

    Attributes:
        loss: of the batch alone, penalties included.
        learning_rate: that the step used.
        batch: what it was trained on; where several processes train, this one's rows of the inputs.
        rows: (n,) int64 row number in the data of each sample, or None where the data has no rows.
        buffers: label -> array, for the buffers that were asked for.
    """

    loss: float
    learning_rate: float
    batch: Batch
    rows: np.ndarray | None
    buffers: Arrays = field(default_factory=dict)
