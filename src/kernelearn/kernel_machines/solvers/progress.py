"""Progress lines and warnings of the iterative solvers."""

import warnings

import numpy as np


class Progress:
    """Prints one line per iteration when verbose.

    Args:
        title: name of the solver.
        verbose: 0 silent, k > 0 every k-th iteration.
    """

    def __init__(self, title: str, verbose: int) -> None:
        self.title = title
        self.verbose = int(verbose)

    def show(self, iteration: int, lower: float, upper: float) -> None:
        """One line with both bounds and the relative gap."""
        if self.verbose > 0 and iteration % self.verbose == 0:
            size = max(abs(upper), abs(lower))
            gap = (upper - lower) / size if 0 < size < np.inf else np.inf
            print(f"{self.title} {iteration:4d}  lower {lower:.6g}  upper {upper:.6g}  gap {gap:.2e}")


def warn_not_converged(lower: float, upper: float, gap: float, tol: float, n_iter: int) -> None:
    """ConvergenceWarning that states the bounds that were reached, and whether they can be believed."""
    from sklearn.exceptions import ConvergenceWarning

    if np.isfinite(lower) and np.isfinite(upper) and not np.isfinite(gap):
        text = (
            f"After {n_iter} iterations the lower bound {lower:.10g} lies above the objective {upper:.10g} "
            "by more than rounding explains: nothing is certified, and gap_ is infinite. The problem is too "
            "badly conditioned for its numbers; raise the regularisation, or leave nearly equal kernels out."
        )
    else:
        text = (
            f"Stopped after {n_iter} iterations at a relative duality gap of {gap:.2e}, above tol={tol:g}: "
            f"the optimum is between {lower:.6g} and {upper:.6g}. "
            "Raise max_iter or tol, or scale the features."
        )
    warnings.warn(text, ConvergenceWarning, stacklevel=4)
