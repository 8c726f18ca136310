"""Random numbers, with the names and arguments of `keras.random`.

In a program (the `call` of a layer, a loss, a step) they come from the generator of the step: a pure
function of the run's seed, the number of the step, the source's place in the program, and the number's place
in the array. So they are bitwise the same for any number of threads, and after a resume. `seed` says where
else from:

    None                the step's generator; on arrays the next seed of the process
    SeedGenerator       the same, set apart by its own seed; on arrays its next numbers
    a whole number      always the same numbers, at every call

No gradient goes into a draw: neither to shapes and rates nor to the parameters of gamma, beta and binomial.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn import config
from kernelearn.engine import dtypes
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, cast_to, emit, floats
from kernelearn.ops._shapes import axis_of, one, sizes_of, with_count
from kernelearn.ops.choosing.entries import take
from kernelearn.ops.choosing.ordering import top_k
from kernelearn.ops.moving.joining import stack, unstack
from kernelearn.ops.moving.repeating import broadcast_to
from kernelearn.ops.moving.shaping import expand_dims, squeeze
from kernelearn.tracing import Traced, current, fixed
from kernelearn.tracing.count import ImageCount

# What may be given as `seed`.
Seed = Any


class SeedGenerator:
    """A source of random numbers with a seed of its own.

    Args:
        seed: a whole number; None: the next seed of the process.
        name: for messages.

    >>> from kernelearn import random
    >>> seed = random.SeedGenerator(3)
    >>> first, second = random.uniform((2,), seed=seed), random.uniform((2,), seed=seed)
    >>> bool((first == second).any())
    False
    """

    def __init__(self, seed: int | None = None, name: str | None = None, **options: Any) -> None:
        if options.keys() - {"dtype"}:
            raise ArgumentError(f"SeedGenerator takes seed and name, got {sorted(options)} too.")
        self.seed = config.next_seed() if seed is None else _whole_seed(seed)
        self.name = name or "seed_generator"
        self.drawn = 0

    def next(self, ordered: bool = True) -> Any:
        """(seed, how many were drawn before) as whole numbers: what the next draw on arrays starts from."""
        found = np.array([self.seed, self.drawn], np.int64)
        self.drawn += 1
        return found

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"seed": self.seed, "name": self.name}

    @classmethod
    def from_config(cls, settings: dict[str, Any]) -> SeedGenerator:
        """The generator of a config."""
        return cls(**settings)


def _whole_seed(seed: Any) -> int:
    """Raises: ArgumentError for what is no whole number."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ArgumentError(f"seed must be a whole number, a SeedGenerator or None, got {seed!r}.")
    return int(seed) & 0xFFFFFFFF


def _source(seed: Seed, graph: ProgramBuilder | None) -> tuple[list[Value], int]:
    """The seed and the step that numbers are drawn from, and the stream."""
    is_own = isinstance(seed, SeedGenerator)
    if graph is not None and (seed is None or is_own):
        clock: list[Value] = [Traced(graph, part) for part in graph.clock()]
        # NOTE: as the layers with a seed do.
        return clock, graph.next_stream() + ((seed.seed << 12) if is_own else 0)
    if is_own:
        return [np.asarray(number) for number in seed.next()], 0
    start = config.next_seed() if seed is None else _whole_seed(seed)
    return [np.asarray(start, np.int64), np.asarray(0, np.int64)], 0


def _draw(kind: str, shape: Any, seed: Seed, dtype: str | None = None, **attrs: Any) -> Value:
    """Numbers of a distribution of the engine.

    Raises: ShapeError for a shape with None: the number of images is `ops.shape(x)[0]`.
    """
    sizes = with_count(sizes_of(shape))
    counts = [size for size in sizes if isinstance(size, ImageCount)]
    graph = counts[0].value.graph if counts else current()
    if None in sizes:
        raise ShapeError(
            f"Random numbers of shape {tuple(sizes)} need the number of images: draw them in the `call` of a "
            "layer, with ops.shape(x)[0] as the first size."
        )
    (start, step), stream = _source(seed, graph)
    own = graph.dtype if graph is not None else config.floatx()
    attrs = {"kind": kind, "stream": stream, "dtype": dtype or own, **attrs}
    if counts and sizes[0] is counts[0]:
        rest = [int(size) for size in sizes[1:]]
        return emit("draw", start, step, counts[0].value, shape=(None, *rest), **attrs)
    inputs: list[Value] = [start, step]
    if graph is not None:
        inputs = [value if isinstance(value, Traced) else _constant(graph, value) for value in inputs]
    return emit("draw", *inputs, shape=tuple(int(size) for size in sizes), **attrs)


def _constant(graph: ProgramBuilder, value: Value) -> Traced:
    return Traced(graph, graph.constant(np.asarray(value)))


def _float(dtype: Any) -> str | None:
    """A float type by name, or None.

    Raises: ArgumentError for other types.
    """
    if dtype is None:
        return None
    name = dtypes.checked(dtype)
    if not dtypes.is_float(name):
        raise ArgumentError(f"Random numbers of this distribution are floats, got dtype={dtype!r}.")
    return name


# --- numbers of a shape


def uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Seed = None) -> Any:
    """Numbers in [minval, maxval), all alike likely, in steps of 2^-24 of the interval.

    >>> from kernelearn import random
    >>> bool((random.uniform((2, 3), 1, 2, seed=1) >= 1).all())
    True
    """
    if dtype is not None and not dtypes.is_float(dtypes.checked(dtype)):
        return randint(shape, minval, maxval, dtype, seed)
    u = _draw("uniform", shape, seed, _float(dtype))
    if _is(minval, 0.0) and _is(maxval, 1.0):
        return u
    return _scaled(u, maxval - minval, minval)


def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Seed = None) -> Any:
    """Normal numbers.

    >>> from kernelearn import random
    >>> random.normal((2, 3), seed=1).shape
    (2, 3)
    """
    return _scaled(_draw("normal", shape, seed, _float(dtype)), stddev, mean)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Seed = None
) -> Any:
    """Normal numbers within two standard deviations of the mean."""
    return _scaled(_draw("truncated_normal", shape, seed, _float(dtype)), stddev, mean)


def _is(value: Any, number: float) -> bool:
    return isinstance(value, int | float) and value == number


def _scaled(x: Value, factor: Any, offset: Any) -> Value:
    """x * factor + offset; plain numbers in one operation."""
    if isinstance(factor, int | float) and isinstance(offset, int | float):
        if _is(factor, 1.0) and _is(offset, 0.0):
            return x
        return emit("scale", x, factor=float(factor), offset=float(offset))
    (x, factor, offset) = floats(x, factor, offset)
    return emit("add", emit("multiply", x, factor), offset)


def randint(shape: Any, minval: int, maxval: int, dtype: Any = "int32", seed: Seed = None) -> Any:
    """Whole numbers in [minval, maxval).

    >>> from kernelearn import random
    >>> set(random.randint((100,), -1, 2, seed=1).tolist()) == {-1, 0, 1}
    True
    """
    low, high = int(minval), int(maxval)
    if not 0 < high - low <= 2**32:
        raise ArgumentError(
            f"randint draws from [minval, maxval), at most 2^32 numbers; got {minval}, {maxval}."
        )
    return _draw("integers", shape, seed, dtypes.checked(dtype), low=low, high=high)


def bernoulli(shape: Any, probability: float = 0.5, dtype: Any = None, seed: Seed = None) -> Any:
    """1 with this probability, in steps of 2^-24, else 0; floats unless another type is asked for.

    >>> from kernelearn import random
    >>> round(float(random.bernoulli((1000,), 0.25, seed=1).mean()), 1)
    0.2
    """
    if not 0 <= probability <= 1:
        raise ArgumentError(f"probability must lie in [0, 1], got {probability!r}.")
    kind = None if dtype is None else dtypes.checked(dtype)
    return _draw("bernoulli", shape, seed, kind, probability=float(probability))


# --- numbers whose distribution is computed


@operation(name="random.categorical")
def categorical(logits: Value, num_samples: int, dtype: Any = "int32", seed: Seed = None) -> Any:
    """Class numbers drawn for each row.

    Args:
        logits: (n, classes), logarithms of probabilities up to a constant.
    Returns: (n, num_samples).

    The class with the largest logit plus Gumbel noise -log(-log(u)) is drawn.

    >>> import numpy as np
    >>> from kernelearn import random
    >>> random.categorical(np.array([[0.0, 1e9]]), 3, seed=1).tolist()
    [[1, 1, 1]]
    """
    (logits,) = floats(logits)
    if logits.ndim != 2:
        raise ShapeError(f"categorical takes logits (n, classes), got shape {logits.shape}.")
    count = ImageCount(logits) if logits.shape[0] is None else logits.shape[0]
    noise = _draw("gumbel", (count, int(num_samples), logits.shape[1]), seed, str(logits.dtype))
    _, best = top_k(emit("add", expand_dims(logits, 1), noise), 1)
    return cast_to(squeeze(best, -1), dtypes.checked(dtype))


@operation(name="random.shuffle")
def shuffle(x: Value, axis: int = 0, seed: Seed = None) -> Any:
    """The entries along an axis in another order, all orders alike likely.

    >>> from kernelearn import random
    >>> sorted(random.shuffle([1, 2, 3], seed=1).tolist())
    [1, 2, 3]
    """
    x = one(x)
    place = axis_of(axis, x.ndim, "shuffle")
    x = fixed(x) if place == 0 else x
    return take(x, _order(int(x.shape[place]), seed), place)


def permutation(x: Any, seed: Seed = None) -> Any:
    """The numbers below x in another order, or, of an array, its entries along the first axis.

    >>> from kernelearn import random
    >>> sorted(random.permutation(3, seed=1).tolist())
    [0, 1, 2]
    """
    return _order(int(x), seed) if isinstance(x, int | np.integer | ImageCount) else shuffle(x, 0, seed)


def _order(count: int, seed: Seed) -> Value:
    """The order of 32 random bits each; of equal ones the first comes first."""
    return emit("argsort", _draw("integers", (count,), seed, "int64", low=0, high=2**32), axis=0)


@operation(name="random.dropout")
def dropout(inputs: Value, rate: float, noise_shape: Any = None, seed: Seed = None) -> Any:
    """A share `rate` of the entries zero, the others times 1 / (1 - rate), whatever the mode of the model.

    Args:
        noise_shape: sizes of the mask; a 1 shares the decision along an axis, None follows the inputs.

    >>> import numpy as np
    >>> from kernelearn import random
    >>> sorted(set(random.dropout(np.ones(50), 0.5, seed=1).tolist()))
    [0.0, 2.0]
    """
    (x,) = floats(inputs)
    if not 0 <= rate <= 1:
        raise ArgumentError(f"rate must lie in [0, 1], got {rate!r}.")
    sizes = None
    if noise_shape is not None:
        sizes = tuple(None if s is None or isinstance(s, ImageCount) else int(s) for s in noise_shape)
    clock, stream = _source(seed, x.graph if isinstance(x, Traced) else None)
    return emit("dropout", x, *clock, rate=float(rate), stream=stream, noise_shape=sizes)[0]


def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Seed = None) -> Any:
    """Gamma numbers of shape parameter alpha (broadcast to the shape) and scale 1.

    >>> from kernelearn import random
    >>> bool((random.gamma((3,), 0.5, seed=1) > 0).all())
    True
    """
    parameters = _parameters(shape, dtype, alpha)
    return _computed("draw_gamma", parameters, seed)


def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Seed = None) -> Any:
    """Beta numbers: a / (a + b) of two gamma numbers.

    >>> from kernelearn import random
    >>> bool((random.beta((3,), 2.0, 3.0, seed=1) < 1).all())
    True
    """
    parameters = _parameters(shape, dtype, alpha, beta)
    pair = stack(parameters, 0)
    a, b = unstack(_computed("draw_gamma", [pair], seed), axis=0)
    return a / (a + b)


def binomial(shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Seed = None) -> Any:
    """How many of `counts` trials succeed, each with its probability; it takes as long as there are trials.

    >>> from kernelearn import random
    >>> bool((random.binomial((5,), 10, 0.5, seed=1) <= 10).all())
    True
    """
    chance, trials = _parameters(shape, dtype, probabilities, counts)
    return _computed("draw_binomial", [trials, chance], seed)


def _parameters(shape: Any, dtype: Any, *given: Any) -> list[Value]:
    """Parameters of a distribution, in one float type and of the shape asked for."""
    found = floats(*given)
    is_plain = all(isinstance(value, int | float) for value in given)
    kind = _float(config.floatx() if dtype is None and is_plain else dtype)
    return [broadcast_to(value if kind is None else cast_to(value, kind), shape) for value in found]


def _computed(operator: str, parameters: Sequence[Value], seed: Seed) -> Value:
    graph = next((p.graph for p in parameters if isinstance(p, Traced)), current())
    clock, stream = _source(seed, graph)
    return emit(operator, *parameters, *clock, stream=stream)
