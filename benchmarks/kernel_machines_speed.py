"""Speed of kernel weight learning, side by side: this library, MKLpy's EasyMKL, and the QCQP through CVXPY.

Ten Gaussian kernels, precomputed for all alike; the time is that of learning weights and classifier. Run with
    python benchmarks/kernel_machines_speed.py [--sizes 1000 2000 5000] [--cvxpy-n 400]
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
    """Wall-clock seconds and the result."""
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def warm_up() -> None:
    """Run both once on a small problem, so that imports on first use are not timed."""
    x, y = blobs(100)
    grams = grams_of(x)
    time_silp(grams, y)
    time_easymkl(grams, y)


def time_silp(grams: list[np.ndarray], y: np.ndarray) -> dict:
    """The cutting-plane solver on given matrices, relative gap 1e-3."""
    matrices = np.stack(grams)
    model = MultipleKernelClassifier("precomputed", weights="learned", storage="float64")
    seconds, model = timed(lambda: model.fit(matrices, y))
    return {"seconds": seconds, "gap": model.gap_, "iterations": model.n_iter_}


def time_easymkl(grams: list[np.ndarray], y: np.ndarray) -> dict | None:
    """MKLpy's EasyMKL with its defaults; None where MKLpy is not installed."""
    try:
        import torch
        from MKLpy.algorithms import EasyMKL
    except ImportError:
        return None
    tensors = [torch.from_numpy(k) for k in grams]
    labels = torch.from_numpy(y)
    seconds, _ = timed(lambda: EasyMKL().fit(tensors, labels))
    return {"seconds": seconds}


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
    """Print one line per size, then the comparison with CVXPY; --json gives all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 2000, 5000])
    parser.add_argument("--cvxpy-n", type=int, default=400, help="0 leaves CVXPY out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    warm_up()
    rows = []
    for n in options.sizes:
        x, y = blobs(n)
        grams = grams_of(x)
        row = {"n": n, "silp": time_silp(grams, y), "easymkl": time_easymkl(grams, y)}
        rows.append(row)
        other = (
            "MKLpy not installed" if row["easymkl"] is None else f"EasyMKL {row['easymkl']['seconds']:.2f} s"
        )
        print(
            f"n={n:5d}  cutting planes {row['silp']['seconds']:.2f} s (gap {row['silp']['gap']:.1e})  {other}"
        )
    reference = time_cvxpy(options.cvxpy_n) if options.cvxpy_n else None
    if reference:
        ratio = reference["scs_seconds"] / reference["silp_seconds"]
        print(
            f"n={options.cvxpy_n:5d}  cutting planes {reference['silp_seconds']:.3f} s, "
            f"QCQP by CVXPY and SCS {reference['scs_seconds']:.1f} s: {ratio:.0f} times"
        )
    if options.json:
        print(json.dumps({"sizes": rows, "cvxpy": reference}))


if __name__ == "__main__":
    main()
