"""Random functions of 3 to 12 operations, written as a user would write them, for comparing gradients.

A composition is Python text: a function of arrays `x0, x1, ...` that calls `ops`, returns one number, and can
be run with the `ops` of this library and of Keras. Arguments are kept where the functions are defined and
smooth: `composition_templates.py` says how.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

SIZES = (1, 2, 3, 4)
ROWS = 3
# Values beyond this are brought back by tanh, so that rounding stays small.
LARGEST = 30.0
TEMPLATES: dict[str, Callable[["Draw"], str]] = {}


@dataclass(frozen=True)
class Composition:
    """A function as text, and where it is evaluated.

    Attributes:
        text: `def f(x0, ...): ... return number`; uses `ops` and the constants.
        inputs: its arguments, float64.
        constants: name -> array.
        batched: whether the first argument has the images on its first axis.
        names: functions of `ops` that it calls.
    """

    text: str
    inputs: tuple[np.ndarray, ...]
    constants: dict[str, np.ndarray]
    batched: bool
    names: frozenset[str]

    def function(self, ops: Any, made: Callable[[np.ndarray], Any] = np.asarray) -> Callable[..., Any]:
        """The function, of one library's `ops`; `made` turns constants into arrays of that library."""
        names: dict[str, Any] = {"ops": ops, **{name: made(array) for name, array in self.constants.items()}}
        exec(self.text, names)
        return names["f"]


class Draw:
    """The random choices behind one composition, and the values so far (name -> array)."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.values: dict[str, np.ndarray] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.unused: set[str] = set()

    def value(self, is_fit: Callable[[np.ndarray], bool] = lambda a: True) -> str:
        """Name of a value that fits; late ones are likelier. Raises: LookupError if none does."""
        fit = [name for name, array in self.values.items() if is_fit(array)]
        if not fit:
            raise LookupError
        chance = 1.5 ** np.arange(len(fit))
        return str(self.rng.choice(fit, p=chance / chance.sum()))

    def of_rank(self, low: int, high: int = 4) -> str:
        return self.value(lambda a: low <= a.ndim <= high)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.values[name].shape

    def beside(self, name: str) -> str:
        """Something that broadcasts with a value: another value, a constant, a number."""
        kind = self.rng.integers(4)
        if kind == 0:
            return str(self.choice(-1.5, -0.5, 0.25, 2, 3))
        if kind == 1:
            shape = self.shape(name)
            return self.constant(
                [s if self.flip() else 1 for s in shape[self.rng.integers(len(shape) + 1) :]]
            )
        return self.value(lambda a: _broadcast(a.shape, self.shape(name)))

    def constant(self, shape: Any, array: np.ndarray | None = None) -> str:
        """Name of a new constant; without values given, one of normal numbers."""
        name = f"c{len(self.constants)}"
        self.constants[name] = self.rng.normal(size=shape) if array is None else array
        return name

    def choice(self, *options: Any) -> Any:
        return options[self.rng.integers(len(options))]

    def flip(self) -> bool:
        return bool(self.rng.random() < 0.5)

    def axis(self, name: str) -> int:
        """One axis of a value, counted from either end."""
        rank = len(self.shape(name))
        return int(self.rng.integers(-rank, rank))

    def axes(self, name: str) -> Any:
        """None, one axis, or several."""
        rank = len(self.shape(name))
        if rank == 0 or self.rng.random() < 0.15:
            return None
        many = tuple(int(a) for a in np.flatnonzero(self.rng.random(rank) < 0.5))
        return many if len(many) > 1 else self.axis(name)

    def positive(self) -> str:
        v = self.value()
        if self.values[v].size and self.values[v].min() > 0.05 and self.flip():
            return v
        return self.choice(f"ops.abs({v}) + 0.5", f"ops.square({v}) + 0.3", f"ops.exp(ops.tanh({v}))")

    def distinct(self, name: str) -> str:
        """A value moved by different amounts, so that no two entries are equal: ties have no gradient."""
        step = 0.1 * self.rng.permutation(self.values[name].size).reshape(self.shape(name))
        return f"({name} + {self.constant((), step + 0.0137)})"

    def small(self) -> str:
        v = self.value()
        return v if np.abs(self.values[v]).max(initial=0) < 3 else f"ops.tanh({v})"


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1])) and max(len(a), len(b)) <= 4


def template(name: str) -> Callable[[Callable[[Draw], str]], Callable[[Draw], str]]:
    """Enter a maker of expressions under the function of `ops` that it is about."""

    def enter(make: Callable[[Draw], str]) -> Callable[[Draw], str]:
        TEMPLATES[name] = make
        return make

    return enter


def _templates() -> dict[str, Callable[["Draw"], str]]:
    """All makers; their order belongs to a seed."""
    for module in ("composition_templates", "composition_moves"):
        import_module(f"tests.parity.{module}")
    return TEMPLATES


def _available(ops: Any) -> list[Callable[[Draw], str]]:
    """The makers whose function is there."""
    return [make for name, make in _templates().items() if hasattr(ops, name.partition(":")[0])]


def missing(ops: Any) -> list[str]:
    """Functions of the table that a library has not."""
    return sorted(
        {name.partition(":")[0] for name in _templates() if not hasattr(ops, name.partition(":")[0])}
    )


def _called(text: str) -> set[str]:
    return set(re.findall(r"ops\.(\w+)", text))


def compose(seed: int, ops: Any) -> Composition:
    """The composition of a seed, made of the functions that `ops` has; evaluated with it on the way."""
    draw = Draw(seed)
    batched = draw.flip()
    inputs = tuple(_first_values(draw, batched))
    draw.values = {f"x{i}": array for i, array in enumerate(inputs)}
    draw.unused = set(draw.values)
    lines: list[str] = []
    makers, count = _available(ops), int(draw.rng.integers(3, 13))
    while len(lines) < count:
        _step(draw, ops, draw.choice(*makers), lines)
    lines.append(f"return {_as_one_number(draw, batched)}")
    arguments = ", ".join(f"x{i}" for i in range(len(inputs)))
    text = f"def f({arguments}):\n" + "".join(f"    {line}\n" for line in lines)
    return Composition(text, inputs, draw.constants, batched, frozenset(_called(text)))


def _first_values(draw: Draw, batched: bool) -> list[np.ndarray]:
    """One to three arrays; the first has the images on its first axis if there are any."""
    arrays = []
    for number in range(draw.choice(1, 2, 2, 3)):
        shape = [int(draw.choice(*SIZES)) for _ in range(draw.choice(0, 1, 2, 2, 3, 3, 4))]
        if number == 0 and batched:
            shape = [ROWS, *shape[1:]]
        arrays.append(draw.rng.normal(size=shape))
    return arrays


def _step(draw: Draw, ops: Any, make: Callable[[Draw], str], lines: list[str]) -> None:
    """Append one operation, unless it does not fit the values there are."""
    kept = dict(draw.constants)
    try:
        text = make(draw)
    except LookupError:
        return
    result = np.asarray(eval(text, {"ops": ops, **draw.constants, **draw.values}))
    if result.size > 300 or result.ndim > 4 or not result.size:
        draw.constants = kept
        return
    if np.abs(result).max() > LARGEST:
        text = f"{draw.choice(3.0, 5)} * ops.tanh(0.1 * ({text}))"
        result = np.asarray(eval(text, {"ops": ops, **draw.constants, **draw.values}))
    name = f"v{len(lines)}"
    lines.append(f"{name} = {text}")
    draw.unused -= set(re.findall(r"\b[xv]\d+\b", text))
    draw.unused.add(name)
    draw.values[name] = result


def _as_one_number(draw: Draw, batched: bool) -> str:
    """The weighted sum of everything that nobody has used yet."""
    terms = []
    for name in sorted(draw.unused):
        shape = draw.shape(name)
        # NOTE: weights that differ for each image need their number; without, the program is for any.
        shape = shape[1:] if batched and shape[:1] == (ROWS,) and draw.flip() else shape
        terms.append(f"ops.sum({name} * {draw.constant(shape)})" if math.prod(shape) else f"ops.sum({name})")
    return " + ".join(terms)
