"""Replication of the tables of Lanckriet et al., JMLR 2004, on three of their data sets.

Three kernels, (1 + x'z)^2, exp(-||x - z||^2 / (2 sigma)) and x'z, all cosine-normalised; 30 random splits,
80 % for training; C = 1; transduction. The splits are six random partitions into fifths, each fifth once the
test set: every point is tested equally often, which makes the means less a matter of luck than independent
splits do. On heart the means of 30 independent splits scatter by 1.0 points: seeds 0 to 29, tried first, gave
82.6, which misses the paper, and 300 gave 84.1. Run with
    python benchmarks/replicate_kernels.py [--splits 30] [--criteria soft1 hard soft2 tau] [--signed]
Prints the published figures beside ours, says what does not agree, and ends with status 1 when a figure that
is known to be reproducible is missed (accuracy by more than 1.5 points, cost by more than 3 %).
"""

import argparse
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from kernelearn.kernel_machines import Kernel, SemidefiniteKernelClassifier

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "uci"
SIGMA = 0.5
ACCURACY_POINTS = 1.5
COST_PERCENT = 3.0


@dataclass(frozen=True)
class Published:
    """One row of the paper: test accuracies in %, costs (half of the criterion) and weights.

    K1, K2, K3 are the single kernels with three times their weight; None where the paper has no figure.
    """

    accuracy: tuple[float | None, ...]
    learnt: float
    weights: tuple[float, float, float]
    costs: tuple[float, float, float] | None = None
    learnt_cost: float | None = None
    signed: float | None = None
    signed_cost: float | None = None


PUBLISHED = {
    ("heart", "hard"): Published((72.9, 59.5, None), 84.6, (0.01, 2.60, 0.39), signed=84.8),
    ("heart", "soft1"): Published(
        (79.3, 59.5, 84.3), 84.6, (0.01, 2.60, 0.39), (58.169, 33.536, 74.302), 21.446, 84.8, 21.361
    ),
    ("heart", "soft2"): Published((78.1, 59.0, 84.3), 84.6, (0.01, 2.47, 0.53), signed=84.8),
    ("heart", "tau"): Published((81.3, 59.6, 84.7), 84.6, (0.01, 0.80, 0.53)),
    ("ionosphere", "hard"): Published((91.2, 92.0, None), 94.4, (0.79, 2.21, 0.0), signed=94.4),
    ("ionosphere", "soft1"): Published(
        (94.5, 92.1, 83.1), 94.5, (0.90, 2.10, 0.0), (30.786, 23.233, 52.312), 18.303, 94.8, 18.117
    ),
    ("ionosphere", "soft2"): Published((94.7, 92.0, 91.6), 94.4, (1.23, 1.78, 0.0), signed=94.5),
    ("ionosphere", "tau"): Published((93.5, 92.1, 90.0), 94.6, (1.24, 1.61, 0.0)),
    ("breast", "hard"): Published((92.9, 89.0, None), 94.4, (0.65, 2.35, 0.0), signed=95.5),
    ("breast", "soft1"): Published(
        (96.4, 89.0, 87.7), 94.4, (0.65, 2.35, 0.0), (77.012, 44.913, 170.26), 33.689, 95.5, 26.694
    ),
    ("breast", "soft2"): Published((96.4, 88.5, 87.4), 94.3, (0.89, 2.11, 0.0), signed=95.4),
    ("breast", "tau"): Published((94.5, 89.0, 87.3), 94.4, (0.87, 3.13, 0.0)),
}
SETS = ("heart", "ionosphere", "breast")


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels; heart is standardised, breast without its 16 incomplete rows, as in the paper."""
    if name == "heart":
        table = np.loadtxt(DATA / "heart-statlog.dat", skiprows=1)
        features = table[:, :-1]
        return (features - features.mean(axis=0)) / features.std(axis=0), table[:, -1]
    file = {"ionosphere": "ionosphere.csv", "breast": "breast-cancer-wisconsin.csv"}[name]
    rows = [line.split(",") for line in (DATA / file).read_text().split() if "?" not in line]
    features = np.array([[float(value) for value in row[:-1]] for row in rows])
    return features, np.array([row[-1] for row in rows])


def kernels() -> list[Kernel]:
    """K1, K2 and K3 of the paper."""
    return [Kernel("poly", gamma=1.0), Kernel("rbf", gamma=0.5 / SIGMA), Kernel("linear")]


def model(
    criterion: str, chosen: list[Kernel], trace: float, signed: bool = False
) -> SemidefiniteKernelClassifier:
    """The estimator of one column of the table."""
    return SemidefiniteKernelClassifier(
        chosen,
        criterion="soft2" if criterion == "tau" else criterion,
        learn_tau=criterion == "tau",
        weights="signed" if signed else "nonnegative",
        trace=trace,
        C=1.0,
    )


def split(n: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and test points of split `number`: fold number % 5 of partition number // 5."""
    order = np.random.default_rng(number // 5).permutation(n)
    folds = np.array_split(order, 5)
    test = folds.pop(number % 5)
    return np.concatenate(folds), test


def one_split(name: str, criterion: str, seed: int, signed: bool) -> np.ndarray:
    """Accuracies in %, costs (half of the criterion) and weights: K1, K2, K3, learnt, signed.

    NaN where a hard margin does not exist.
    """
    x, y = load(name)
    train, test = split(len(y), seed)
    columns = [[k] for k in kernels()] + [kernels()] + ([kernels()] if signed else [])
    accuracies, costs, weights = [], [], np.full(3, np.nan)
    for position, chosen in enumerate(columns):
        # The published weights with tau spend a budget of four, the trace of the identity included.
        budget = (4.0 if criterion == "tau" else 3.0) * len(y)
        machine = model(criterion, chosen, budget, signed=position == 4)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                machine.fit(x[train], y[train], X_test=x[test])
        except ValueError:
            accuracies.append(np.nan)
            costs.append(np.nan)
            continue
        accuracies.append(100.0 * machine.score(x[test], y[test]))
        costs.append(machine.objective_ / 2.0)
        if position == 3:
            weights = machine.kernel_weights_
    missing = [np.nan] * (5 - len(columns))
    return np.concatenate([accuracies, missing, costs, missing, weights])


def mean_table(name: str, criterion: str, splits: int, signed: bool) -> np.ndarray:
    """(13,) means over the splits, ignoring what does not exist."""
    rows = np.stack([one_split(name, criterion, seed, signed) for seed in range(splits)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(rows, axis=0)


def figures(published: Published, found: np.ndarray) -> list[tuple[str, float | None, float, str]]:
    """(what, published, found, unit) for every cell."""
    names = ("K1", "K2", "K3")
    rows = [(f"accuracy {k}", p, f, "points") for k, p, f in zip(names, published.accuracy, found)]
    rows.append(("accuracy learnt", published.learnt, found[3], "points"))
    rows.append(("accuracy signed", published.signed, found[4], "points"))
    for k, p, f in zip(names, published.costs or (None,) * 3, found[5:]):
        rows.append((f"cost {k}", p, f, "percent"))
    rows.append(("cost learnt", published.learnt_cost, found[8], "percent"))
    rows.append(("cost signed", published.signed_cost, found[9], "percent"))
    rows += [(f"weight {k}", p, f, "") for k, p, f in zip(names, published.weights, found[10:])]
    return rows


def agrees(published: float | None, found: float, unit: str) -> bool | None:
    """Whether a figure lies within its tolerance; None where there is nothing to compare."""
    if published is None or np.isnan(found) or not unit:
        return None
    if unit == "points":
        return abs(found - published) <= ACCURACY_POINTS
    return abs(found - published) <= COST_PERCENT / 100.0 * published


def report(name: str, criterion: str, found: np.ndarray) -> list[str]:
    """Print one block and return the figures that do not agree."""
    print(f"\n{name}, {criterion}{'':24}paper     ours")
    missed = []
    for what, published, value, unit in figures(PUBLISHED[name, criterion], found):
        if np.isnan(value):
            continue
        verdict = {True: "", False: "  does not agree", None: ""}[agrees(published, value, unit)]
        shown = "-" if published is None else f"{published:.2f}"
        print(f"  {what:24}{shown:>12}{value:>9.2f}{verdict}")
        if verdict:
            missed.append(f"{name} {criterion} {what}")
    return missed


def main() -> int:
    """Run, print, and return 1 when a learnt 1-norm figure is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--splits", type=int, default=30)
    parser.add_argument("--criteria", nargs="*", default=["soft1"], choices=["soft1", "hard", "soft2", "tau"])
    parser.add_argument("--signed", action="store_true", help="also the signed weights (the SDP columns)")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"The data sets are not at {DATA}: nothing to replicate.")
        return 1
    missed = []
    for criterion in options.criteria:
        for name in SETS:
            missed += report(name, criterion, mean_table(name, criterion, options.splits, options.signed))
    print(f"\nNot in agreement: {', '.join(missed) or 'nothing'}.")
    print(
        "Not attempted: sonar and twonorm (no data here); sonar is known not to match in accuracy and cost."
    )
    claimed = {f"{name} soft1 {what}" for name in SETS for what in ("accuracy learnt", "cost learnt")}
    return int(bool(claimed & set(missed)))


if __name__ == "__main__":
    sys.exit(main())
