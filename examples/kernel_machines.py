"""Learn a kernel in three ways on one data set and compare each with the plain average of the kernels.

Run: python examples/kernel_machines.py [--plot weights.png]
"""

import argparse

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kernelearn.kernel_machines import (
    ConvexHullKernelClassifier,
    HyperkernelClassifier,
    MultipleKernelClassifier,
    SemidefiniteKernelClassifier,
    poly_bank,
    rbf_bank,
)
from kernelearn.kernel_machines.plots import plot_weights

BANK = [rbf_bank([0.001, 0.01, 0.1, 1.0]), poly_bank([1, 2])]
MODELS = {
    "uniform average": MultipleKernelClassifier(BANK, weights="uniform"),
    "best single": MultipleKernelClassifier(BANK, weights="best", random_state=0),
    "learnt weights": MultipleKernelClassifier(BANK),
    "learnt, 2-norm with tau": SemidefiniteKernelClassifier(BANK, criterion="soft2", learn_tau=True),
    "any Gaussian": ConvexHullKernelClassifier(loss="hinge"),
    "hyperkernel": HyperkernelClassifier(n_pivots=30),
}


def main() -> None:
    """Print cross-validated accuracies and the learnt weights; optionally draw them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", help="file for a figure of the learnt weights")
    options = parser.parse_args()
    x, y = load_breast_cancer(return_X_y=True)
    for name, model in MODELS.items():
        pipeline = make_pipeline(StandardScaler(), model)
        scores = cross_validate(pipeline, x, y, cv=3)
        print(f"{name:26} {scores['test_score'].mean():.3f}  {scores['fit_time'].mean():.2f} s per fit")
    learnt = MODELS["learnt weights"].fit(StandardScaler().fit_transform(x), y)
    for name, weight in zip(learnt.kernel_names_, learnt.kernel_weights_):
        print(f"  {name:26} {weight:.3f}")
    if options.plot:
        plot_weights(learnt, options.plot)


if __name__ == "__main__":
    main()
