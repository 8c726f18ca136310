"""Speed of kernel weight learning, side by side: this library, MKLpy's EasyMKL, and the QCQP through CVXPY.

Ten Gaussian kernels, precomputed for all alike; the time is that of learning weights and classifier, in
seconds of the processor (other programs do not count), the least of interleaved runs. EasyMKL is run with
its default learner and with scikit-learn's SVC, which is its fast setting. Run with
    python benchmarks/kernel_machines_speed.py [--sizes 200 400 1000 2000] [--runs 3] [--cvxpy-n 400]
EasyMKL and CVXPY are skipped, with a line that says so, where they are not installed.
"""

import argparse
import json
import time

import numpy as np

from kernelearn.kernel_machines import MultipleKernelClassifier, SemidefiniteKernelClassifier, rbf_bank
from kernelearn.kernel_machines.kernels.grams import GramBank

GAMMAS = np.logspace(-4, 0.5, 10)


def blobs(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 20) points of two overlapping Gaussians with a curved boundary, and labels 0/1."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 20))
    score = x[:, 0] + 0.5 * x[:, 1] ** 2 - 0.5 + 0.5 * rng.standard_normal(n)
    return x, (score > 0).astype(int)


def grams_of(x: np.ndarray) -> list[np.ndarray]:
    """The ten Gram matrices, float64."""
    bank = GramBank(rbf_bank(GAMMAS), x, None, "float64")
    return [bank.gram(i) for i in range(len(GAMMAS))]


def timed(action) -> tuple[float, object]:
    """Seconds of the processor and the result."""
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


class Silp:
    """The cutting-plane solver on given matrices, relative gap 1e-3."""

    name = "here"

    def fit(self, grams: list[np.ndarray], y: np.ndarray) -> tuple[float, object]:
        matrices = np.stack(grams)
        model = MultipleKernelClassifier("precomputed", weights="learned", storage="float64")
        return timed(lambda: model.fit(matrices, y))

    def predict(self, model, grams: list[np.ndarray]) -> np.ndarray:
        return model.predict(np.stack(grams))

    def weights(self, model) -> np.ndarray:
        return model.kernel_weights_


class EasyMKL:
    """MKLpy's EasyMKL, with its default learner or with SVC."""

    def __init__(self, is_fast: bool) -> None:
        self.name = "EasyMKL, SVC" if is_fast else "EasyMKL"
        self.is_fast = is_fast

    def fit(self, grams: list[np.ndarray], y: np.ndarray) -> tuple[float, object]:
        import torch
        from MKLpy.algorithms import EasyMKL as Machine
        from sklearn.svm import SVC

        torch.set_num_threads(1)
        tensors, labels = [torch.from_numpy(k) for k in grams], torch.from_numpy(y)
        settings = {"learner": SVC(C=1.0, kernel="precomputed")} if self.is_fast else {}
        return timed(lambda: Machine(**settings).fit(tensors, labels))

    def predict(self, model, grams: list[np.ndarray]) -> np.ndarray:
        import torch

        return np.asarray(model.predict([torch.from_numpy(k) for k in grams]))

    def weights(self, model) -> np.ndarray:
        found = np.asarray(model.solution.weights, dtype=np.float64)
        return found / found.sum()


def machines() -> list:
    """This library, and EasyMKL where it is installed."""
    try:
        import MKLpy  # noqa: F401
    except ImportError:
        print("MKLpy is not installed: EasyMKL is left out")
        return [Silp()]
    return [Silp(), EasyMKL(True), EasyMKL(False)]


def objective(theta: np.ndarray, grams: list[np.ndarray], y: np.ndarray) -> float:
    """The 1-norm soft margin of given weights, C = 1: what the weights leave of the optimum."""
    gram = np.tensordot(theta, np.stack(grams), axes=1)
    return MultipleKernelClassifier("precomputed", weights="uniform", tol=1e-5).fit(gram, y).objective_


def compare(n: int, runs: int) -> dict[str, dict]:
    """Least times, objectives and accuracies on fresh points for one size."""
    x, y = blobs(2 * n)
    every = grams_of(x)
    grams = [np.ascontiguousarray(k[:n, :n]) for k in every]
    rows: dict[str, dict] = {}
    for _ in range(runs):
        for machine in machines():
            seconds, model = machine.fit(grams, y[:n])
            row = rows.setdefault(machine.name, {"seconds": np.inf})
            row["seconds"] = min(row["seconds"], seconds)
            if "objective" not in row:
                row["objective"] = objective(machine.weights(model), grams, y[:n])
                new = [np.ascontiguousarray(k[n:, :n]) for k in every]
                row["accuracy"] = float(np.mean(machine.predict(model, new) == y[n:]))
    return rows


def time_cvxpy(n: int) -> dict | None:
    """The QCQP of Lanckriet et al. (38) through CVXPY and SCS, and the cutting planes on the same problem."""
    try:
        import cvxpy  # noqa: F401
    except ImportError:
        return None
    from sklearn.datasets import load_breast_cancer
    from sklearn.preprocessing import StandardScaler

    x, y = load_breast_cancer(return_X_y=True)
    x, y = StandardScaler().fit_transform(x)[:n], y[:n]
    kernels = rbf_bank(GAMMAS)
    silp, fast = timed(lambda: SemidefiniteKernelClassifier(kernels).fit(x, y))
    scs, slow = timed(lambda: SemidefiniteKernelClassifier(kernels, solver="scs").fit(x, y))
    return {
        "silp_seconds": silp,
        "silp_bounds": [fast.lower_bound_, fast.objective_],
        "scs_seconds": scs,
        "scs_objective": slow.objective_,
    }


def main() -> None:
    """Print one line per size and machine, then the comparison with CVXPY; --json gives all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[200, 400, 1000, 2000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cvxpy-n", type=int, default=400, help="0 leaves CVXPY out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    compare(60, 1)  # Imports on first use are not timed.
    sizes = {}
    for n in options.sizes:
        sizes[n] = compare(n, options.runs)
        for name, row in sizes[n].items():
            print(
                f"n={n:5d}  {name:13} {row['seconds']:8.3f} s  objective {row['objective']:10.3f}  "
                f"accuracy {row['accuracy']:.3f}",
                flush=True,
            )
    reference = time_cvxpy(options.cvxpy_n) if options.cvxpy_n else None
    if reference:
        ratio = reference["scs_seconds"] / reference["silp_seconds"]
        print(
            f"n={options.cvxpy_n:5d}  cutting planes {reference['silp_seconds']:.3f} s, "
            f"QCQP by CVXPY and SCS {reference['scs_seconds']:.1f} s: {ratio:.0f} times"
        )
    if options.json:
        print(json.dumps({"sizes": sizes, "cvxpy": reference}))


if __name__ == "__main__":
    main()
