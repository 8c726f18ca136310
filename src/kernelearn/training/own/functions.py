"""`kernelearn.function`: a step of one's own, traced once for each signature and compiled whole."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from kernelearn import config, tracing
from kernelearn.engine.program import Program
from kernelearn.engine.variable import Variable
from kernelearn.training.own.forms import Form, taken_apart
from kernelearn.training.own.step import OwnStep, traced_step

# Signatures of one function that are kept; the least recently used goes.
SIGNATURES_KEPT = 32
# Traces that differ in nothing but Python numbers before a warning.
MANY_NUMBERS = 5
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class Leaf:
    """One argument: an array of a shape and type, or something that is part of the code.

    Attributes:
        shape, dtype: of an array.
        value: a plain value, or the identity of an object.
    """

    shape: tuple[int, ...] | None = None
    dtype: str = ""
    value: Any = None


class OwnFunction:
    """A function whose calls on arrays run compiled programs; see `function`.

    Args:
        function: what to trace.
        name: for messages.
        engine: "cpu", "reference" or None for the default.
        policy: of precision; None for `config.policy()` when it is called.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        engine: str | None = None,
        policy: str | None = None,
    ) -> None:
        self.function = function
        self.name = str(name or getattr(function, "__name__", type(function).__name__))
        self.engine = engine
        self.policy = policy
        self._steps: OrderedDict[Any, OwnStep] = OrderedDict()
        self._numbers: dict[Any, set[Any]] = {}
        self._has_warned = False
        self._seed: int | None = None
        self._calls = 0
        functools.update_wrapper(self, function, updated=())

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if tracing.active():
            return self.function(*args, **keywords)
        step, arrays = self._step(args, keywords)
        if self._seed is None:
            self._seed = config.next_seed()
        result = step.run(arrays, self._seed, self._calls)
        self._calls += 1
        return result

    def run_as(self, args: tuple[Any, ...], seed: int, number: int) -> Any:
        """What a call gives with the random numbers of this seed and step."""
        step, arrays = self._step(args, {})
        return step.run(arrays, seed, number)

    def step_of(self, *args: Any) -> tuple[OwnStep, list[np.ndarray]]:
        """What a call with these arguments runs, and the arrays among them."""
        return self._step(args, {})

    def form_of(self, args: tuple[Any, ...]) -> Form:
        """The form of what a call gives, from tracing it alone."""
        return self._step(args, {})[0].form

    def programs(self, *args: Any, **keywords: Any) -> list[Program]:
        """What a call with these arguments runs, to print or inspect: one program, or several in order."""
        step, _ = self._step(args, keywords)
        return step.programs

    def _step(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[OwnStep, list[np.ndarray]]:
        given, form = taken_apart((args, keywords))
        given = [_as_array(leaf) for leaf in given]
        leaves = tuple(map(_leaf, given))
        policy = self.policy or config.policy()
        key = (form, leaves, config.floatx(), policy)
        step = self._steps.get(key)
        if step is None or not step.is_current():
            self._note_numbers(form, leaves)
            step = self._steps[key] = traced_step(self.function, given, form, self.engine, policy)
            while len(self._steps) > SIGNATURES_KEPT:
                self._steps.popitem(last=False)
        self._steps.move_to_end(key)
        return step, [leaf for leaf in given if isinstance(leaf, np.ndarray)]

    def _note_numbers(self, form: Form, leaves: Sequence[Leaf]) -> None:
        """Warn where the same arrays come with another Python number again and again."""
        numbers = tuple(leaf.value for leaf in leaves if isinstance(leaf.value, int | float))
        others = tuple(leaf for leaf in leaves if not isinstance(leaf.value, int | float))
        met = self._numbers.setdefault((form, others), set())
        met.add(numbers)
        if len(met) < MANY_NUMBERS or self._has_warned:
            return
        self._has_warned = True
        warnings.warn(
            f"{self.name} has been traced {len(met)} times for arguments that differ in a Python number "
            f"only, such as {numbers}: a number is part of the compiled code. Give it as an array, "
            "np.asarray(number, 'float32'), and one program serves all.",
            UserWarning,
            stacklevel=5,
        )


@overload
def function(given: Callable[..., Any], /) -> OwnFunction: ...


@overload
def function(*, engine: str | None = None) -> Callable[[Callable[..., Any]], OwnFunction]: ...


def function(given: Any = None, /, *, engine: str | None = None) -> Any:
    """Compile a function of arrays: a training step of one's own, or anything that ops and layers compute.

    The function runs once for each signature (structure, shapes and types of its arguments), with traced
    values in place of arrays, and what it computes is compiled whole: models called in it, losses, gradients
    (`value_and_grad`), updates (`minimize`). Later calls run the compiled programs only; Python around the
    operations, such as `print`, does not run again.

    Arrays of floats are taken in the process's float type. Python numbers, strings and objects are part of
    the code: another one is another trace. Results are arrays, and Python numbers for single ones. Random
    numbers follow from the seed (`kernelearn.set_random_seed`) and the number of the call. Models called in
    it work for inference unless they are called with training=True, as in Keras. Products are as precise as
    the process's policy says (`kernelearn.mixed_precision`).

    Args:
        engine: "cpu", "reference" or None for the default.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> @function
    ... def distance(a, b):
    ...     return ops.sum(ops.square(a - b))
    >>> distance(np.array([1.0, 2.0]), np.array([1.0, 5.0]))
    9.0
    """
    if given is None:
        return lambda one: OwnFunction(one, engine=engine)
    return OwnFunction(given, engine=engine)


def _as_array(leaf: Any) -> Any:
    """Arrays, NumPy's numbers and what other packages call arrays, with floats in the process's type."""
    if isinstance(leaf, _PLAIN) and not isinstance(leaf, np.generic):
        return leaf
    if isinstance(leaf, Variable) or not hasattr(leaf, "__array__") or isinstance(leaf, type):
        return leaf
    array = np.asarray(leaf)
    if array.dtype.kind == "f" and array.dtype.name != config.floatx():
        array = array.astype(config.floatx())
    return array if array.dtype.kind in "fiub" else leaf


def _leaf(value: Any) -> Leaf:
    if isinstance(value, np.ndarray):
        return Leaf(value.shape, value.dtype.name)
    return Leaf(value=value if isinstance(value, _PLAIN) else ("object", id(value)))
