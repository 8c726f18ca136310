"""Progress lines and warnings of the iterative solvers."""

import warnings


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
            gap = (upper - lower) / max(abs(upper), 1e-12)
            print(f"{self.title} {iteration:4d}  lower {lower:.6g}  upper {upper:.6g}  gap {gap:.2e}")


def warn_not_converged(gap: float, tol: float, max_iter: int) -> None:
    """ConvergenceWarning that states the gap that was reached."""
    from sklearn.exceptions import ConvergenceWarning

    warnings.warn(
        f"Stopped after {max_iter} iterations at a relative duality gap of {gap:.2e}, above tol={tol:g}. "
        "The weights are usable; raise max_iter or tol, or scale the features.",
        ConvergenceWarning,
        stacklevel=4,
    )
