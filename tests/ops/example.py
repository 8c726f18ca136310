"""What an example of a function of `ops` is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SHAPE = (6, 4, 5)
_RNG = np.random.default_rng(5)
# Normal numbers, numbers between -1 and 1, positive numbers; no two are equal, none is whole.
NORMAL = _RNG.normal(size=SHAPE).astype("float32")
UNIT = _RNG.uniform(-0.95, 0.95, SHAPE).astype("float32")
POSITIVE = _RNG.uniform(0.2, 4, SHAPE).astype("float32")


@dataclass(frozen=True, eq=False)
class Example:
    """One call.

    Attributes:
        name: of the function in `ops`.
        call: (function, *arrays) -> result, one array or several; the arrays may be symbols.
        oracle: (*arrays as float64) -> the same by NumPy.
        arrays: what it is called on.
        is_batched: whether the result has the images on its first axis, so that a model can give it.
        tolerance: of float32 results, relative to the largest entry.
        dtype: of the result, where it is not float32.
    """

    name: str
    call: Callable[..., Any]
    oracle: Callable[..., Any]
    arrays: tuple[np.ndarray, ...] = (NORMAL,)
    is_batched: bool = True
    tolerance: float = 4e-6
    dtype: str = "float32"
    label: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.label}".strip()

    def expected(self) -> list[np.ndarray]:
        """By NumPy in float64."""
        with np.errstate(all="ignore"):
            return flat(
                self.oracle(*(a.astype("float64") if a.dtype == "float32" else a for a in self.arrays))
            )

    def check(self, result: Any, where: str) -> None:
        """Raise AssertionError if a result is not what NumPy gives, in shape, type and numbers."""
        wanted, found = self.expected(), flat(result)
        assert len(found) == len(wanted), f"{self} {where}: {len(found)} results, expected {len(wanted)}"
        for y, e in zip(found, wanted):
            y = np.asarray(y)
            assert y.shape == e.shape, f"{self} {where}: shape {y.shape}, expected {e.shape}"
            assert y.dtype == self.dtype, f"{self} {where}: {y.dtype}, expected {self.dtype}"
            largest = np.abs(e[np.isfinite(e)]).max(initial=1e-3) if e.dtype.kind == "f" else 0
            np.testing.assert_allclose(
                y, e, rtol=0, atol=self.tolerance * largest, err_msg=f"{self} {where}", equal_nan=True
            )


def flat(result: Any) -> list[Any]:
    """One result or several as a list."""
    return [np.asarray(part) for part in (result if isinstance(result, tuple | list) else [result])]
