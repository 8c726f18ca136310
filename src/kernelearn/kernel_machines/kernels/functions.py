"""Kernel functions k(x, x') as values: names, callables, precomputed matrices, banks and column blocks.

First station of every kernel machine: whatever the user passes as `kernels` leaves here as a flat list of
`Kernel` objects with numeric parameters.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from kernelearn.errors import ArgumentError, DataError, unknown_name

_DIAGONAL_BLOCK = 64

# A function on whole arrays, (n, d), (m, d) -> (n, m).
KernelFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Which features a kernel sees: a slice, column numbers, or None for all.
Columns: TypeAlias = slice | Sequence[int] | np.ndarray | int | None
# What users may pass as `kernels`; None is the default bank.
KernelLike: TypeAlias = "Kernel | str | KernelFunction | np.ndarray | Sequence[KernelLike] | None"
# Where random numbers come from, as scikit-learn writes it.
Seed: TypeAlias = int | np.random.RandomState | None


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, m) squared Euclidean distances between the rows of x (n, d) and y (m, d), never negative."""
    # NOTE: both sides are shifted by the same vector; without it the expanded square cancels
    # catastrophically for data far from the origin.
    shift = y.mean(axis=0)
    x, y = x - shift, y - shift
    out: np.ndarray = x @ y.T
    out *= -2.0
    out += np.einsum("ij,ij->i", x, x)[:, None]
    out += np.einsum("ij,ij->i", y, y)[None, :]
    np.maximum(out, 0.0, out=out)
    return out


def _linear(x: np.ndarray, y: np.ndarray, kernel: "Kernel") -> np.ndarray:
    return np.asarray(x @ y.T)


def _poly(x: np.ndarray, y: np.ndarray, kernel: "Kernel") -> np.ndarray:
    out: np.ndarray = x @ y.T
    out *= kernel.numeric_gamma
    out += kernel.coef0
    np.power(out, kernel.degree, out=out)
    return out


def _rbf(x: np.ndarray, y: np.ndarray, kernel: "Kernel") -> np.ndarray:
    out = squared_distances(x, y)
    out *= -kernel.numeric_gamma
    np.exp(out, out=out)
    return out


def _laplacian(x: np.ndarray, y: np.ndarray, kernel: "Kernel") -> np.ndarray:
    from sklearn.metrics.pairwise import manhattan_distances

    out: np.ndarray = manhattan_distances(x, y)
    out *= -kernel.numeric_gamma
    np.exp(out, out=out)
    return out


FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray, "Kernel"], np.ndarray]] = {
    "linear": _linear,
    "poly": _poly,
    "rbf": _rbf,
    "laplacian": _laplacian,
}


@dataclass(frozen=True)
class Kernel:
    """One kernel function k(x, x').

    Args:
        function: "linear" x'x; "poly" (gamma x'x + coef0)^degree; "rbf" exp(-gamma ||x-x'||^2); "laplacian"
            exp(-gamma ||x-x'||_1); or a callable (n, d), (m, d) -> (n, m).
        gamma: positive number, or "scale" for 1 / (d * var(X)) of the training data.
        factor: multiplies gamma; a bank relative to the scale of the data uses it.
        degree, coef0: of "poly". An integer degree >= 1 and coef0 >= 0 keep it positive semidefinite.
        columns: indices or slice of the features that the kernel sees; None for all.
        label: name in tables and plots; made from the parameters when None.

    >>> Kernel("rbf", gamma=0.5)(np.zeros((1, 2)), np.ones((1, 2))).round(4)
    array([[0.3679]])
    """

    function: str | KernelFunction
    gamma: float | str = "scale"
    factor: float = 1.0
    degree: int = 2
    coef0: float = 1.0
    columns: Columns = None
    label: str | None = None

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The (n, m) matrix of k between the rows of x (n, d) and y (m, d)."""
        if self.columns is not None:
            x, y = x[:, self.columns], y[:, self.columns]
        if isinstance(self.function, str):
            return FUNCTIONS[self.function](x, y, self)
        return _checked_output(self.function(x, y), (len(x), len(y)), self.name)

    def diagonal(self, x: np.ndarray) -> np.ndarray:
        """(n,) values k(x_i, x_i)."""
        if self.function in ("rbf", "laplacian"):
            return np.ones(len(x), dtype=x.dtype)
        if isinstance(self.function, PrecomputedGram):
            return self.function.diagonal(x)
        blocks = [x[i : i + _DIAGONAL_BLOCK] for i in range(0, len(x), _DIAGONAL_BLOCK)]
        return np.concatenate([np.diagonal(self(b, b)) for b in blocks]) if blocks else np.empty(0)

    @property
    def numeric_gamma(self) -> float:
        """gamma times factor; an error while gamma is still "scale"."""
        if isinstance(self.gamma, str):
            raise ArgumentError(
                f"gamma={self.gamma!r} has no number yet: call resolve(X) with the training data first."
            )
        return self.gamma * self.factor

    @property
    def is_known_psd(self) -> bool:
        """Whether the kernel is positive semidefinite by construction."""
        if self.function == "poly":
            return self.coef0 >= 0
        return self.function in FUNCTIONS

    @property
    def name(self) -> str:
        """What tables and plots call it."""
        return self.label or _describe(self)

    def resolve(self, x: np.ndarray, weights: np.ndarray | None = None) -> "Kernel":
        """The same kernel with a numeric gamma, from the training data; it shares no array with the user.

        Args:
            x: (n, d). weights: (n,) how often each point counts, or None for once.
        """
        owned = replace(self, function=_owned(self.function), columns=_owned(self.columns))
        if self.gamma != "scale" or not isinstance(self.function, str):
            return owned
        seen = x if self.columns is None else x[:, self.columns]
        variance = _variance(seen, weights)
        return replace(owned, gamma=1.0 / (seen.shape[1] * variance) if variance > 0 else 1.0)


_Value = TypeVar("_Value")


def _owned(value: _Value) -> _Value:
    """A copy of what can be changed from outside after a fit."""
    if isinstance(value, np.ndarray | list | PrecomputedGram):
        return deepcopy(value)
    return value


def _variance(x: np.ndarray, weights: np.ndarray | None) -> float:
    """Variance of all values of x (n, d), rows counted by their weights; 0 where it is rounding."""
    if weights is None or np.all(weights == 1.0):
        mean, variance = float(x.mean()), float(x.var())
    else:
        mean = float(np.average(x.mean(axis=1), weights=weights))
        variance = float(np.average(((x - mean) ** 2).mean(axis=1), weights=weights))
    return variance if variance > (4 * np.finfo(float).eps * mean) ** 2 else 0.0


def _checked_output(out: ArrayLike, shape: tuple[int, int], name: str) -> np.ndarray:
    out = np.asarray(out)
    if out.shape != shape:
        raise ArgumentError(
            f"Kernel {name} must return a matrix of shape {shape} for inputs of {shape[0]} and {shape[1]} "
            f"rows, got {out.shape}. It is called as kernel(X, Y) on whole arrays."
        )
    return out


def _describe(kernel: Kernel) -> str:
    if not isinstance(kernel.function, str):
        base = getattr(kernel.function, "__name__", type(kernel.function).__name__)
    elif kernel.function == "linear":
        base = "linear"
    else:
        gamma = f"{kernel.factor:.3g}*scale" if kernel.gamma == "scale" else f"{kernel.numeric_gamma:.3g}"
        degree = f", degree={kernel.degree}" if kernel.function == "poly" else ""
        base = f"{kernel.function}(gamma={gamma}{degree})"
    return base if kernel.columns is None else f"{base}[{_describe_columns(kernel.columns)}]"


def _describe_columns(columns: Columns) -> str:
    if isinstance(columns, slice):
        return f"{columns.start or 0}:{'' if columns.stop is None else columns.stop}"
    listed = [str(c) for c in np.atleast_1d(np.asarray(columns))]
    return ",".join(listed) if len(listed) <= 4 else f"{','.join(listed[:3])},..({len(listed)})"


class PrecomputedGram:
    """A kernel given by its matrix over N known points; inputs are then (n, 1) columns of point numbers.

    Cross-validation, pipelines and transduction work unchanged, because rows of X are still points.

    Args:
        matrix: (N, N) symmetric kernel matrix.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix
        self.__name__ = "precomputed"

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(n, m) block of the matrix at point numbers x (n, 1) and y (m, 1)."""
        rows, columns = _as_slice(self._indices(x)), _as_slice(self._indices(y))
        return self.matrix[rows][:, columns]

    def diagonal(self, x: np.ndarray) -> np.ndarray:
        """(n,) entries of the matrix on its diagonal at point numbers x (n, 1)."""
        return np.asarray(np.diagonal(self.matrix)[self._indices(x)])

    def _indices(self, x: np.ndarray) -> np.ndarray:
        if (
            x.shape[1] != 1
            or np.any(x != np.round(x))
            or (x.size and not 0 <= x.min() <= x.max() < len(self.matrix))
        ):
            raise DataError(
                f"With a precomputed kernel over {len(self.matrix)} points, X must be one column of point "
                f"numbers 0..{len(self.matrix) - 1}, got an array of shape {x.shape}. "
                "Use X = np.arange(n).reshape(-1, 1), or kernels='precomputed' to pass matrices as X."
            )
        return x[:, 0].astype(np.intp)


def _as_slice(indices: np.ndarray) -> np.ndarray | slice:
    """A run of consecutive numbers as a slice, which NumPy cuts out without a copy."""
    if len(indices) and np.all(np.diff(indices) == 1):
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices


def rbf_bank(
    gammas: Sequence[float] | None = None, *, relative: bool = False, columns: Columns = None
) -> list[Kernel]:
    """Gaussian kernels exp(-gamma ||x-x'||^2), one per width.

    Args:
        gammas: positive numbers; None for 0.01, 0.1, 1, 10 and 100 times the scale of the data.
        relative: take `gammas` as multiples of 1 / (d * var(X)).
        columns: features that the kernels see.

    >>> [kernel.name for kernel in rbf_bank([0.1, 1.0])]
    ['rbf(gamma=0.1)', 'rbf(gamma=1)']
    """
    if gammas is None:
        gammas, relative = (0.01, 0.1, 1.0, 10.0, 100.0), True
    for gamma in gammas:
        if not gamma > 0:
            raise ArgumentError(f"gammas must be positive, got {gamma!r}.")
    if relative:
        return [Kernel("rbf", factor=float(g), columns=columns) for g in gammas]
    return [Kernel("rbf", gamma=float(g), columns=columns) for g in gammas]


def poly_bank(
    degrees: Sequence[int] = (1, 2, 3),
    *,
    gamma: float | str = "scale",
    coef0: float = 1.0,
    columns: Columns = None,
) -> list[Kernel]:
    """Polynomial kernels (gamma x'x + coef0)^degree, one per degree.

    >>> [kernel.degree for kernel in poly_bank((1, 2))]
    [1, 2]
    """
    for degree in degrees:
        if degree != int(degree) or degree < 1:
            raise ArgumentError(f"degrees must be integers of at least 1, got {degree!r}.")
    return [Kernel("poly", gamma=gamma, degree=int(d), coef0=coef0, columns=columns) for d in degrees]


def on_blocks(kernels: KernelLike, blocks: Iterable[Columns]) -> list[Kernel]:
    """Every kernel on every block of features.

    Args:
        kernels: anything that an estimator takes as `kernels`.
        blocks: column indices, slices or index lists, one entry per block.
    """
    flat = as_kernels(kernels)
    return [replace(kernel, columns=block) for block in blocks for kernel in flat]


def default_bank() -> list[Kernel]:
    """Five Gaussians around the scale of the data and the linear kernel."""
    return [*rbf_bank(), Kernel("linear")]


def as_kernels(kernels: KernelLike) -> list[Kernel]:
    """A flat list of `Kernel` objects from a name, callable, matrix, `Kernel`, or nested list of these.

    Raises: UnknownNameError for an unknown name, ArgumentError for an empty list or another type.
    """
    if kernels is None:
        return default_bank()
    if isinstance(kernels, list | tuple):
        flat = [kernel for entry in kernels for kernel in as_kernels(entry)]
        if not flat:
            raise ArgumentError("kernels is empty: give at least one kernel, or None for the default bank.")
        return flat
    return [_as_kernel(kernels)]


def _as_kernel(entry: object) -> Kernel:
    if isinstance(entry, Kernel):
        if isinstance(entry.function, str) and entry.function not in FUNCTIONS:
            raise unknown_name("kernel", entry.function, FUNCTIONS)
        return entry
    if isinstance(entry, str):
        if entry not in FUNCTIONS:
            raise unknown_name("kernel", entry, [*FUNCTIONS, "precomputed"])
        return Kernel(entry)
    if isinstance(entry, np.ndarray):
        if entry.ndim != 2 or entry.shape[0] != entry.shape[1]:
            raise ArgumentError(f"A precomputed kernel must be a square matrix, got shape {entry.shape}.")
        return Kernel(PrecomputedGram(entry), gamma=1.0)
    if callable(entry):
        return Kernel(entry, gamma=1.0)
    raise ArgumentError(
        "A kernel is a name, a Kernel, a callable k(X, Y), a square matrix or a list of these, "
        f"got {entry!r} of type {type(entry).__name__}."
    )


def unique_names(kernels: Sequence[Kernel]) -> list[str]:
    """Names for tables, with #2, #3, ... appended to repeats."""
    seen: dict[str, int] = {}
    names = []
    for kernel in kernels:
        seen[kernel.name] = seen.get(kernel.name, 0) + 1
        repeat = seen[kernel.name]
        names.append(kernel.name if repeat == 1 else f"{kernel.name}#{repeat}")
    return names
