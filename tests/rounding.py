"""How far two different computations of the same numbers in float32 may lie apart.

The same bits are asked for only where one computation is repeated. NumPy's BLAS, the engine on another
processor and another order of summation round in other ways.
"""

import numpy as np

UNIT_ROUNDOFF = 2.0**-24


def gamma(terms: int) -> float:
    """Bound on the relative rounding error of a sum of this many products in float32 (Higham, lemma 3.1)."""
    return terms * UNIT_ROUNDOFF / (1 - terms * UNIT_ROUNDOFF)


def assert_same_but_for_rounding(found, expected, terms: int, magnitude=None) -> None:
    """Two results, each of which sums so many rounded terms, agree within twice the bound of one.

    Args:
        terms: additions and multiplications behind one entry.
        magnitude: sum of the absolute values of the terms of each entry; by default the largest entry.
    """
    found, expected = np.asarray(found, "float64"), np.asarray(expected, "float64")
    largest = np.abs(expected).max(initial=0.0) if magnitude is None else np.asarray(magnitude, "float64")
    assert found.shape == expected.shape
    np.testing.assert_array_less(np.abs(found - expected), 2 * gamma(terms) * largest + 1e-30)
