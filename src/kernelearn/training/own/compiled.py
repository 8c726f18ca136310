"""The compiled gradients of functions that are asked for outside of a step: each once, a bounded number."""

from __future__ import annotations

import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kernelearn.engine.variable import Variable
from kernelearn.training.own.functions import OwnFunction

if TYPE_CHECKING:
    from kernelearn.training.own.gradients import GradientOf

# Functions whose gradients are kept; the least recently used goes.
FUNCTIONS_KEPT = 64
# Functions of the same code before a warning.
MANY_FUNCTIONS = 8


class Compiled:
    """The compiled gradients of functions, so that `value_and_grad(f)(x)` in a loop compiles once.

    A function that is made anew at each call is another function each time: that is noticed, and said once.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, OwnFunction] = OrderedDict()
        self._made: Counter[Any] = Counter()

    def of(self, wanted: GradientOf, weights: Sequence[Variable]) -> OwnFunction:
        """The compiled form of `wanted`, which differentiates by these weights."""
        numbers = None if wanted.argnums is None else str(wanted.argnums)
        key = (wanted.function, numbers, tuple(map(id, weights)), wanted.has_aux, wanted.with_value)
        if key not in self._kept:
            name = getattr(wanted.function, "__name__", "function")
            self._note(wanted.function, name)
            self._kept[key] = OwnFunction(wanted.traced, name=name)
            while len(self._kept) > FUNCTIONS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _note(self, function: Callable[..., Any], name: str) -> None:
        code = getattr(function, "__code__", None)
        self._made[code] += 1
        if code is not None and self._made[code] == MANY_FUNCTIONS:
            warnings.warn(
                f"The gradient of {name} has been compiled {MANY_FUNCTIONS} times, because the function was "
                "made anew each time. Make it once, outside of the loop, and give it what changes as arrays; "
                "or write the whole step under @kernelearn.function.",
                UserWarning,
                stacklevel=5,
            )


COMPILED = Compiled()
