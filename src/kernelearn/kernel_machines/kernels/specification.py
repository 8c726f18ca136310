"""Kernels written as text, for the command line: "rbf:0.1,1,10 poly:2 linear"."""

from collections.abc import Callable

from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.kernel_machines.kernels.functions import Kernel, poly_bank, rbf_bank


def _rbf(values: list[float]) -> list[Kernel]:
    return rbf_bank(values or None)


def _scaled_rbf(values: list[float]) -> list[Kernel]:
    return rbf_bank(values or None, relative=True)


def _poly(values: list[float]) -> list[Kernel]:
    return poly_bank([int(value) for value in values] or (2,))


def _laplacian(values: list[float]) -> list[Kernel]:
    return [Kernel("laplacian", gamma=value) for value in values] or [Kernel("laplacian")]


def _linear(values: list[float]) -> list[Kernel]:
    return [Kernel("linear")]


_MAKERS: dict[str, Callable[[list[float]], list[Kernel]]] = {
    "rbf": _rbf,
    "rbf-scaled": _scaled_rbf,
    "poly": _poly,
    "laplacian": _laplacian,
    "linear": _linear,
}


def parse_kernels(text: str) -> list[Kernel]:
    """Kernels from words "name" or "name:number,number,...", separated by spaces.

    "rbf" and "laplacian" take widths gamma, "rbf-scaled" multiples of 1 / (d * var(X)), "poly" degrees.
    Without numbers: five Gaussians around the scale of the data, degree 2, the scale for "laplacian".

    >>> [kernel.name for kernel in parse_kernels("rbf:0.1,1 linear")]
    ['rbf(gamma=0.1)', 'rbf(gamma=1)', 'linear']
    """
    kernels: list[Kernel] = []
    for word in text.split():
        name, _, numbers = word.partition(":")
        if name not in _MAKERS:
            raise unknown_name("kernel", name, _MAKERS)
        kernels += _MAKERS[name](_parse_numbers(numbers, word))
    if not kernels:
        raise ArgumentError("No kernels given; write for example 'rbf:0.1,1,10 linear'.")
    return kernels


def _parse_numbers(text: str, word: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part]
    except ValueError:
        raise ArgumentError(f"{word!r}: expected numbers separated by commas after the colon.") from None
