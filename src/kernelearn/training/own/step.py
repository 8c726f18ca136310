"""A traced step of one's own, ready to run: its programs in order, its random numbers, its optimisers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kernelearn import config, tracing
from kernelearn.engine.backends import Executable, prepare, resolve_engine
from kernelearn.engine.program import Program
from kernelearn.engine.rewrites import PRODUCTS_OF, with_products_in
from kernelearn.engine.variable import Variable
from kernelearn.tracing import Traced
from kernelearn.training.own.afterwards import Afterwards, Output, labelled, output
from kernelearn.training.own.builder import StepBuilder, Use
from kernelearn.training.own.forms import Form, put_together, taken_apart
from kernelearn.training.own.segments import LOSS, Segment, segments_of
from kernelearn.training.own.sources import Sources

Arrays = dict[str, np.ndarray]


class OwnStep:
    """What a function does for one signature.

    Args:
        builder: with the operations.
        outputs: of the function, in the form `form`.
        afterwards: what is done with its values behind a run.
        given: everything that was given as it is, which the step keeps alive.
    """

    def __init__(
        self,
        builder: StepBuilder,
        outputs: Sequence[Output],
        form: Form,
        afterwards: Sequence[Afterwards],
        given: Any,
        engine: str | None,
        policy: str,
    ) -> None:
        self.outputs, self.form, self._given = outputs, form, given
        self.builder, self.engine = builder, resolve_engine(engine)
        self.afterwards = afterwards
        self.segments = _in_policy(segments_of(builder), policy)
        self._sources = Sources(builder)

    @functools.cached_property
    def _executables(self) -> list[Executable]:
        return [prepare(one.program, self.builder.variables, self.engine) for one in self.segments]

    @property
    def programs(self) -> list[Program]:
        """What is run, in order."""
        return [segment.program for segment in self.segments]

    @property
    def variables(self) -> dict[str, Variable]:
        """Name of a weight or state -> Variable, of all programs."""
        known = self.builder.variables
        return {weight.name: known[weight.name] for one in self.programs for weight in one.weights()}

    def is_current(self) -> bool:
        """Whether no layer or optimiser that the code read has changed since."""
        return self._sources.are_current()

    def run(self, arrays: Sequence[np.ndarray], seed: int, number: int) -> Any:
        """Run the programs; gives what the function gave.

        Args:
            arrays: the arguments that are arrays, in order.
            seed, number: of random numbers: of the run, and of the step in it.
        """
        values: Arrays = {argument_name(i): array for i, array in enumerate(arrays)}
        values |= {"seed": np.asarray(seed, np.int64), "step": np.asarray(number, np.int64)}
        for segment, executable in zip(self.segments, self._executables):
            values.update(self.clock(segment))
            results = executable.run({b.name: values[b.name] for b in segment.program.inputs()})
            values.update(results)
            if LOSS not in results or bool(np.isfinite(results[LOSS])):
                self.count_updates(segment)
        for action in self.afterwards:
            action.do(values)
        return put_together([plain(output.of(values)) for output in self.outputs], self.form)

    def clock(self, segment: Segment) -> Arrays:
        """The inputs of a program that say how far its optimisers are."""
        values: Arrays = {}
        done: dict[int, int] = {}
        for use in self._uses_of(segment):
            count = int(use.optimizer.iterations) + done.get(id(use.optimizer), 0)
            done[id(use.optimizer)] = done.get(id(use.optimizer), 0) + 1
            values[use.rate] = np.asarray(use.optimizer.rate_at(count), np.float64)
            values[use.count] = np.asarray(count + 1, np.int64)
        return values

    def count_updates(self, segment: Segment) -> None:
        """Note that the optimisers of a program have changed weights."""
        for use in self._uses_of(segment):
            use.optimizer.iterations += 1

    def _uses_of(self, segment: Segment) -> list[Use]:
        return [self.builder.groups.uses[at] for at in segment.uses]


def traced_step(
    function: Callable[..., Any],
    given: Sequence[Any],
    form: Form,
    engine: str | None,
    policy: str,
) -> OwnStep:
    """The step that a function does on arguments of these shapes.

    Args:
        given: the leaves of (args, keywords), arrays and other things, in the form `form`.
        policy: of precision.
    """
    builder = StepBuilder(False, config.floatx(), images_of(given))
    leaves = _arguments(builder, given)
    with tracing.tracing(builder):
        args, keywords = put_together(leaves, form)
        result = function(*args, **keywords)
        found, result_form = taken_apart(result)
        outputs = [output(builder, leaf, f"out_{i}") for i, leaf in enumerate(found)]
        actions = labelled(builder)
    objects = [leaf for leaf in given if not isinstance(leaf, np.ndarray)]
    return OwnStep(builder, outputs, result_form, actions, objects, engine, policy)


def _in_policy(segments: Sequence[Segment], policy: str) -> list[Segment]:
    """The programs with products as precise as a policy says; those in float64 keep theirs."""
    precision = PRODUCTS_OF[policy] if config.floatx() == "float32" else "float32"
    return [replace(s, program=with_products_in(s.program, precision)) for s in segments]


def argument_name(index: int) -> str:
    """The program input that holds the array number `index`."""
    return f"argument_{index}"


def images_of(given: Sequence[Any]) -> int | None:
    """The number of images: the first size of the first array with several axes, else with one."""
    shapes = [leaf.shape for leaf in given if isinstance(leaf, np.ndarray) and leaf.ndim]
    wide = [shape for shape in shapes if len(shape) > 1]
    return next((int(shape[0]) for shape in (*wide, *shapes)), None)


def _arguments(builder: StepBuilder, given: Sequence[Any]) -> list[Any]:
    """Arrays as traced inputs of the program, other things as they are."""
    leaves, number = [], 0
    for leaf in given:
        if not isinstance(leaf, np.ndarray):
            leaves.append(leaf)
            continue
        has_images = bool(leaf.ndim) and leaf.shape[0] == builder.batch
        shape = (None, *leaf.shape[1:]) if has_images else leaf.shape
        leaves.append(Traced(builder, builder.input(argument_name(number), shape, leaf.dtype.name)))
        number += 1
    return leaves


def plain(value: Any) -> Any:
    """A single number as Python's own, an array as it is."""
    return value.item() if isinstance(value, np.ndarray | np.generic) and np.ndim(value) == 0 else value
