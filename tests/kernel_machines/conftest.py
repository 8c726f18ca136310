"""Small data sets that all tests of the kernel machines share."""

import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

UCI = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "uci"


@pytest.fixture(autouse=True)
def _quiet_convergence_is_an_error():
    """A solver that stops early must not pass unseen."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        yield


@pytest.fixture(scope="session")
def rings():
    """(40, 4) two noisy rings and two features of noise, labels 0/1; not linearly separable."""
    rng = np.random.default_rng(7)
    angle = rng.uniform(0, 2 * np.pi, 40)
    y = np.arange(40) % 2
    radius = 1.0 + 0.7 * y + 0.25 * rng.standard_normal(40)
    noise = 0.5 * rng.standard_normal((40, 2))
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), noise]), y


@pytest.fixture(scope="session")
def curve():
    """(50, 1) points and a target with a slow and a fast oscillation."""
    rng = np.random.default_rng(3)
    x = np.sort(rng.uniform(-3, 3, 50))[:, None]
    return x, np.sin(x[:, 0]) + 0.4 * np.sin(6 * x[:, 0]) + 0.05 * rng.standard_normal(50)
