"""Fit a signal with two time scales without choosing a width: the convex hull of all Gaussians.

Prints which widths were found, the certificate that no other width helps, and the errors of single widths.
Run: python examples/kernel_machines_width.py
"""

import numpy as np

from kernelearn.kernel_machines import ConvexHullKernelRegressor


def signal(x: np.ndarray) -> np.ndarray:
    """A slow wave, and a fast one on its right half."""
    return np.sin(x) + 0.4 * np.sin(8 * x) * (x > 0)


def main() -> None:
    """Compare the learnt mixture with single widths on points that were not used to fit."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-3, 3, 120))
    y = signal(x) + 0.1 * rng.standard_normal(120)
    grid = np.linspace(-3, 3, 600)
    hull = ConvexHullKernelRegressor((0.01, 100.0), alpha=0.1).fit(x[:, None], y)
    for gamma, weight in zip(hull.gammas_, hull.kernel_weights_):
        print(f"gamma {gamma:8.3f}  weight {weight:.3f}")
    certificate = hull.certificate_
    print(
        f"largest c'G(gamma)c {certificate.best_value:.4f}, at the atoms {certificate.atom_values.round(4)}"
    )
    error = np.mean((hull.predict(grid[:, None]) - signal(grid)) ** 2)
    print(f"mixture             mean squared error {error:.4f}")
    for gamma in (0.1, 1.0, 10.0, 100.0):
        single = ConvexHullKernelRegressor((gamma, gamma), alpha=0.1).fit(x[:, None], y)
        error = np.mean((single.predict(grid[:, None]) - signal(grid)) ** 2)
        print(f"single gamma {gamma:6.1f} mean squared error {error:.4f}")


if __name__ == "__main__":
    main()
