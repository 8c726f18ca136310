"""Programs as users write them, once for both libraries: `lib` is `keras` or `kernelearn`.

A `Program` makes a compiled model and its data; `losses` trains it for ten steps from fixed weights. Networks
that `fit` cannot train have steps of their own, in `steps.py`. `make parity` compares all with Keras on JAX;
tests compare them with its numbers in golden_programs.json. The table of docs/own-code.md is made of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

STEPS = 10
PROGRAMS: dict[str, "Program"] = {}
Arrays = Any


@dataclass(frozen=True)
class Program:
    """A model that `fit` trains.

    Attributes:
        name: as in the table.
        shows: what of the user's own it has.
        make: library -> compiled model.
        data: -> (x, y); y is None where the loss needs no targets.
        tolerance: how far losses may be apart.
    """

    name: str
    shows: str
    make: Callable[[Any], Any]
    data: Callable[[], tuple[Arrays, Arrays]]
    tolerance: float = 1e-9


def program(
    name: str, shows: str, data: Callable[[], tuple[Arrays, Arrays]], tolerance: float = Program.tolerance
) -> Callable[..., Any]:
    """Enter a function (library -> compiled model) into the table."""

    def enter(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        PROGRAMS[name] = Program(name, shows, make, data, tolerance)
        return make

    return enter


def same_weights(*models: Any) -> None:
    """Give models fixed weights: kernels around zero, vectors around one."""
    rng = np.random.default_rng(4)
    for model in models:
        for weight in model.weights:
            shape = tuple(weight.shape)
            size = 0.3 if len(shape) > 1 else 0.0
            drawn = rng.normal(size=shape)
            weight.assign(size * drawn if size else 1 + 0.2 * np.tanh(drawn))


def losses(one: Program, lib: Any) -> list[float]:
    """The loss of ten steps on one batch."""
    x, y = one.data()
    model = one.make(lib)
    model(x)  # makes the weights of models that are classes
    same_weights(model)
    rows = len(next(iter(x.values())) if isinstance(x, dict) else x[0] if isinstance(x, list) else x)
    history = model.fit(x, y, batch_size=rows, epochs=STEPS, shuffle=False, verbose=0)
    return [float(value) for value in history.history["loss"]]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers, the same each time."""
    return np.random.default_rng(seed).normal(size=shape)


def classes(rows: int, count: int, seed: int = 1) -> np.ndarray:
    """Class numbers."""
    return np.random.default_rng(seed).integers(0, count, rows)


def pictures(size: int = 8, channels: int = 2, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Six images and their classes."""
    return normal(6, size, size, channels), classes(6, count)


def table() -> str:
    """All programs and loops as a table of the documentation."""
    from tests.parity.programs.steps import LOOPS

    rows = [f"| {one.name} | {one.shows} |" for one in (*every_program().values(), *LOOPS.values())]
    return "\n".join(["| program | what of one's own it has |", "|---|---|", *rows]) + "\n"


def every_program() -> dict[str, Program]:
    """All of them, by name."""
    from tests.parity.programs import generative, metric_learning, parts, sequences, vision  # noqa: F401

    return PROGRAMS
