"""Gram matrices of a bank of kernels: stored (float64, float32), recomputed on the fly, or Nystroem factors.

Solvers see only `GramBank`: sums of weighted Gram matrices, quadratic forms v'K_i v, traces and rows for new
points. Which of the storages is behind it decides memory: m kernels on n points take 8, 4 or 0 bytes * m *
n^2, or 8 * m * n * n_components; one combined float64 matrix of 8 * n^2 bytes comes on top for libsvm.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from scipy.linalg.blas import daxpy as _add_scaled

from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines.kernels.functions import Kernel, PrecomputedGram, unique_names

STORAGES = ("auto", "float64", "float32", "on_the_fly", "nystroem")
NORMALIZATIONS = ("auto", "cosine", "trace", None)
_FLOAT64_BUDGET = 2 * 2**30
_FLOAT32_BUDGET = 4.5 * 2**30
_BLOCK_ELEMENTS = 2**17
_SPARSE_SUPPORT = 0.4


def row_blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Slices that cut n_rows rows into blocks of about one megabyte of float64."""
    step = max(1, _BLOCK_ELEMENTS // max(n_columns, 1))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


class _NormalizedKernel:
    """One kernel with its normalisation fixed by the training points x (n, d)."""

    def __init__(self, kernel: Kernel, x: np.ndarray, normalize: str | None, weights: np.ndarray) -> None:
        self.kernel = kernel
        self.normalize = normalize
        self.x = x
        self.diagonal = np.asarray(kernel.diagonal(x), dtype=np.float64)
        self.scale = _trace_scale(self.diagonal, weights) if normalize == "trace" else 1.0
        self.roots = inverse_roots(self.diagonal) if normalize == "cosine" else None

    def rows(self, x_new: np.ndarray, columns: slice | np.ndarray = slice(None)) -> np.ndarray:
        """(n_new, n_columns) normalised kernel values against the training points in `columns`."""
        return self._scaled(self.kernel(x_new, self.x[columns]), inverse_roots_of(self, x_new), columns)

    def training_rows(
        self, rows: slice | np.ndarray, columns: slice | np.ndarray = slice(None)
    ) -> np.ndarray:
        """As `rows`, for training points by number."""
        left = None if self.roots is None else self.roots[rows]
        return self._scaled(self.kernel(self.x[rows], self.x[columns]), left, columns)

    def given_matrix(self) -> np.ndarray | None:
        """The user's own matrix where it is the Gram matrix as it stands, to be read without a copy."""
        function = self.kernel.function
        if not isinstance(function, PrecomputedGram) or self.normalize is not None:
            return None
        in_order = self.x.shape == (len(function.matrix), 1) and np.all(np.diff(self.x[:, 0]) == 1)
        return function.matrix if in_order else None

    def new_diagonal(self, x_new: np.ndarray) -> np.ndarray:
        """(n_new,) normalised k(x, x) of new points."""
        diagonal = np.asarray(self.kernel.diagonal(x_new), dtype=np.float64)
        if self.normalize == "cosine":
            return (diagonal > 0).astype(np.float64)
        return diagonal * self.scale

    def _scaled(self, gram: np.ndarray, left: np.ndarray | None, columns: slice | np.ndarray) -> np.ndarray:
        gram = np.array(gram, dtype=np.float64)
        if self.roots is None or left is None:
            if self.scale != 1.0:
                gram *= self.scale
            return gram
        gram *= left[:, None]
        gram *= self.roots[columns][None, :]
        return gram


def inverse_roots(diagonal: np.ndarray) -> np.ndarray:
    """1 / sqrt(diagonal), and 0 where a point has no length under the kernel."""
    positive = diagonal > 0
    return np.where(positive, 1.0 / np.sqrt(np.where(positive, diagonal, 1.0)), 0.0)


def inverse_roots_of(kernel: _NormalizedKernel, x_new: np.ndarray) -> np.ndarray | None:
    """Inverse lengths of new points under a kernel, None where it is not cosine-normalised."""
    if kernel.roots is None:
        return None
    return inverse_roots(np.asarray(kernel.kernel.diagonal(x_new), dtype=np.float64))


def _trace_scale(diagonal: np.ndarray, weights: np.ndarray) -> float:
    trace = float(weights @ diagonal)
    return float(weights.sum()) / trace if trace > 0 else 1.0


class _Store(Protocol):
    def add_to(self, out: np.ndarray, rows: slice, index: int, weight: float) -> None: ...

    def image(self, index: int, v: np.ndarray, support: np.ndarray) -> np.ndarray: ...


class _StoredGrams:
    """All Gram matrices in memory, in one float type."""

    def __init__(self, kernels: Sequence[_NormalizedKernel], n: int, dtype: type) -> None:
        self.grams: list[np.ndarray] = [_filled(kernel, n, dtype) for kernel in kernels]

    def add_to(self, out: np.ndarray, rows: slice, index: int, weight: float) -> None:
        gram = self.grams[index][rows]
        if gram.dtype == np.float64 and gram.flags.c_contiguous and out.flags.c_contiguous:
            # One pass without a temporary array; it adds up in `out` itself.
            _add_scaled(gram.reshape(-1), out.reshape(-1), a=weight)
        else:
            out += weight * gram

    def image(self, index: int, v: np.ndarray, support: np.ndarray) -> np.ndarray:
        gram = self.grams[index]
        if len(support) < _SPARSE_SUPPORT * len(v):
            return np.asarray(gram[np.ix_(support, support)] @ v[support].astype(gram.dtype))
        return np.asarray((gram @ v.astype(gram.dtype))[support])


def _filled(kernel: _NormalizedKernel, n: int, dtype: type) -> np.ndarray:
    given = kernel.given_matrix()
    if given is not None and given.dtype == dtype:
        return given
    gram: np.ndarray = np.empty((n, n), dtype=dtype)
    for rows in row_blocks(n, n):
        gram[rows] = kernel.training_rows(rows)
    return gram


class _LazyGrams:
    """Nothing in memory: blocks of rows are computed when they are needed."""

    def __init__(self, kernels: Sequence[_NormalizedKernel]) -> None:
        self.kernels = kernels

    def add_to(self, out: np.ndarray, rows: slice, index: int, weight: float) -> None:
        out += weight * self.kernels[index].training_rows(rows)

    def image(self, index: int, v: np.ndarray, support: np.ndarray) -> np.ndarray:
        blocks = [support[block] for block in row_blocks(len(support), len(support))]
        kernel = self.kernels[index]
        return np.concatenate([kernel.training_rows(rows, support) @ v[support] for rows in blocks])


class _NystroemGrams:
    """Low-rank factors: K_i is replaced by Z_i Z_i' with Z_i = K_i[:, landmarks] W_i^{-1/2}.

    Source: Williams and Seeger, Using the Nystroem method to speed up kernel machines, 2001.
    """

    def __init__(self, kernels: Sequence[_NormalizedKernel], landmarks: np.ndarray) -> None:
        self.landmarks = landmarks
        self.roots = [_inverse_root(kernel.training_rows(landmarks, landmarks)) for kernel in kernels]
        everyone = slice(None)
        self.factors = [k.training_rows(everyone, landmarks) @ r for k, r in zip(kernels, self.roots)]

    def add_to(self, out: np.ndarray, rows: slice, index: int, weight: float) -> None:
        out += weight * (self.factors[index][rows] @ self.factors[index].T)

    def image(self, index: int, v: np.ndarray, support: np.ndarray) -> np.ndarray:
        factor = self.factors[index][support]
        return np.asarray(factor @ (factor.T @ v[support]))

    def cross(
        self, kernel: _NormalizedKernel, index: int, x_new: np.ndarray, columns: np.ndarray | slice
    ) -> np.ndarray:
        """(n_new, n_columns) approximated kernel values."""
        return np.asarray(
            kernel.rows(x_new, self.landmarks) @ self.roots[index] @ self.factors[index][columns].T
        )


def _inverse_root(gram: np.ndarray) -> np.ndarray:
    """W^{-1/2} on the range of a positive semidefinite matrix W."""
    values, vectors = np.linalg.eigh(gram)
    keep = values > max(values.max(), 0.0) * 1e-10
    return np.asarray(vectors[:, keep] / np.sqrt(values[keep]))


class GramBank:
    """The Gram matrices of m kernels on n training points.

    Args:
        kernels: resolved kernels (numeric gamma).
        x: (n, d) float64 training points.
        normalize: "cosine" (k(x,x) = 1), "trace" (trace n on the training points) or None.
        storage: one of `STORAGES`; "auto" takes float64 up to 2 GiB, float32 up to 4.5 GiB, else on_the_fly.
        n_components: landmarks of "nystroem".
        seed: of the choice of landmarks.
        weights: (n,) how often each point counts in traces and inner products; None for once.
    """

    def __init__(
        self,
        kernels: Sequence[Kernel],
        x: np.ndarray,
        normalize: str | None = "cosine",
        storage: str = "auto",
        n_components: int = 300,
        seed: int | np.random.RandomState | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        if normalize not in NORMALIZATIONS[1:]:
            raise ArgumentError(f"normalize must be 'cosine', 'trace' or None, got {normalize!r}.")
        self.n, self.n_kernels = len(x), len(kernels)
        self.names = unique_names(kernels)
        self.weights = np.ones(self.n) if weights is None else weights
        self.kernels = [_NormalizedKernel(kernel, x, normalize, self.weights) for kernel in kernels]
        self.storage = _resolve_storage(storage, self.n, self.n_kernels)
        self._store = self._make_store(n_components, seed)

    def _make_store(self, n_components: int, seed: int | np.random.RandomState | None) -> _Store:
        if self.storage == "on_the_fly":
            return _LazyGrams(self.kernels)
        if self.storage == "nystroem":
            if n_components < 1:
                raise ArgumentError(f"n_components must be at least 1, got {n_components!r}.")
            from sklearn.utils import check_random_state

            count = min(n_components, self.n)
            return _NystroemGrams(self.kernels, np.sort(check_random_state(seed).permutation(self.n)[:count]))
        return _StoredGrams(self.kernels, self.n, np.float64 if self.storage == "float64" else np.float32)

    def combine(self, weights: np.ndarray) -> np.ndarray:
        """(n, n) float64 matrix sum_i weights_i K_i, C-ordered."""
        out = np.zeros((self.n, self.n))
        active = np.flatnonzero(weights)
        for rows in row_blocks(self.n, self.n):
            for index in active:
                self._store.add_to(out[rows], rows, int(index), float(weights[index]))
        return out

    def gram(self, index: int) -> np.ndarray:
        """(n, n) float64 Gram matrix of one kernel."""
        return self.combine(np.eye(self.n_kernels)[index])

    def grams(self) -> np.ndarray:
        """(m, n, n) stack of all Gram matrices: for small problems only."""
        return np.stack([self.gram(i) for i in range(self.n_kernels)])

    def quadratic_forms(self, v: np.ndarray) -> np.ndarray:
        """(m,) values of trace(v'K_i v) for v of shape (n,) or (n, k)."""
        v = v.reshape(self.n, -1)
        support, images = self.images(v)
        return np.asarray(np.einsum("sk,isk->i", v[support], images))

    def images(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers (s,) of the rows of v (n, k) that are not zero, and (m, s, k) the rows of K_i v there."""
        support = np.flatnonzero(np.any(v != 0, axis=1))
        if len(support) == 0:
            return support, np.zeros((self.n_kernels, 0, v.shape[1]))
        images = [self._store.image(i, v, support) for i in range(self.n_kernels)]
        return support, np.stack(images).astype(np.float64, copy=False)

    def traces(self) -> np.ndarray:
        """(m,) traces of the normalised Gram matrices over the training points, counted by their weights."""
        return np.array([float(self.weights @ kernel.new_diagonal(kernel.x)) for kernel in self.kernels])

    def extra_traces(self, x_new: np.ndarray) -> np.ndarray:
        """(m,) traces over new points."""
        return np.array([float(kernel.new_diagonal(x_new).sum()) for kernel in self.kernels])

    def inner_products(self) -> np.ndarray:
        """(m, m) Frobenius products <K_i, K_j> over the training points, each as often as it counts."""
        total = np.zeros((self.n_kernels, self.n_kernels))
        one_hot = np.eye(self.n_kernels)
        roots = np.sqrt(self.weights)
        for rows in row_blocks(self.n, self.n * self.n_kernels):
            blocks = np.stack([self._block(rows, weights) for weights in one_hot])
            blocks *= roots[rows][:, None] * roots
            flat = blocks.reshape(self.n_kernels, -1)
            total += flat @ flat.T
        return total

    def _block(self, rows: slice, weights: np.ndarray) -> np.ndarray:
        out = np.zeros((rows.stop - rows.start, self.n))
        for index in np.flatnonzero(weights):
            self._store.add_to(out, rows, int(index), float(weights[index]))
        return out

    def cross(
        self, x_new: np.ndarray, weights: np.ndarray, columns: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """(n_new, n_columns) combined kernel between new points and the training points in `columns`."""
        width = len(np.arange(self.n)[columns])
        out = np.zeros((len(x_new), width))
        for rows in row_blocks(len(x_new), width):
            for index in np.flatnonzero(weights):
                out[rows] += weights[index] * self._cross_one(int(index), x_new[rows], columns)
        return out

    def release(self) -> None:
        """Forget the stored Gram matrices; what new points need stays (training points, Nystroem factors)."""
        if not isinstance(self._store, _NystroemGrams):
            self._store = _LazyGrams(self.kernels)

    def _cross_one(self, index: int, x_new: np.ndarray, columns: np.ndarray | slice) -> np.ndarray:
        if isinstance(self._store, _NystroemGrams):
            return self._store.cross(self.kernels[index], index, x_new, columns)
        return self.kernels[index].rows(x_new, columns)


def _resolve_storage(storage: str, n: int, n_kernels: int) -> str:
    if storage not in STORAGES:
        raise ArgumentError(f"storage must be one of {', '.join(STORAGES)}, got {storage!r}.")
    if storage != "auto":
        return storage
    if 8 * n_kernels * n * n <= _FLOAT64_BUDGET:
        return "float64"
    return "float32" if 4 * n_kernels * n * n <= _FLOAT32_BUDGET else "on_the_fly"


def check_bank(bank: GramBank, sample: int = 200) -> None:
    """Refuse kernels that are not finite, symmetric and positive semidefinite on the training points.

    Kernels that are so by construction are not examined. Of large problems a sample of points is: a
    principal submatrix of a positive semidefinite matrix is positive semidefinite.

    Raises: ArgumentError naming the kernel and its most negative eigenvalue.
    """
    chosen = np.linspace(0, bank.n - 1, min(bank.n, sample)).round().astype(np.intp)
    for kernel, name in zip(bank.kernels, bank.names):
        if not kernel.kernel.is_known_psd or not np.all(np.isfinite(kernel.diagonal)):
            _check_gram(kernel.training_rows(chosen, chosen), kernel.diagonal, name)


def _check_gram(gram: np.ndarray, diagonal: np.ndarray, name: str) -> None:
    if not (np.all(np.isfinite(gram)) and np.all(np.isfinite(diagonal))):
        raise ArgumentError(f"Kernel {name} gives NaN or infinite values on the training points.")
    size = max(float(np.abs(gram).max()), 1e-300)
    if np.abs(gram - gram.T).max() > 1e-6 * size:
        raise ArgumentError(
            f"Kernel {name} is not symmetric: |K - K'| reaches {np.abs(gram - gram.T).max():.3g}. "
            "A kernel must satisfy k(x, x') = k(x', x)."
        )
    limit = 1e-6 * len(gram)
    length = max(float(np.abs(diagonal).max()), 1e-300)
    if diagonal.min() >= 0.0 and _is_definite((gram + gram.T) / 2, limit * size):
        return
    lowest = float(np.linalg.eigvalsh((gram + gram.T) / 2)[0])
    # NOTE: cosine normalisation hides a negative diagonal (it maps it to zero), so look at it too.
    if min(lowest / size, float(diagonal.min()) / length) < -limit:
        lowest = min(lowest, float(diagonal.min()))
        raise ArgumentError(
            f"Kernel {name} is not positive semidefinite: an eigenvalue is {lowest:.3g}. Use another "
            "kernel, or repair its matrix by adding a multiple of the identity or clipping its eigenvalues."
        )


def _is_definite(gram: np.ndarray, shift: float) -> bool:
    """Whether gram + shift I has a Cholesky factor: a tenth of the cost of eigenvalues; gram may change."""
    gram.flat[:: len(gram) + 1] += shift
    try:
        np.linalg.cholesky(gram)
    except np.linalg.LinAlgError:
        return False
    return True


def collinearity(bank: GramBank, sample: int = 300) -> np.ndarray:
    """(m, m) cosines between the Gram matrices on at most `sample` training points."""
    chosen = np.linspace(0, bank.n - 1, min(bank.n, sample)).round().astype(np.intp)
    rows = np.stack([kernel.training_rows(chosen, chosen).ravel() for kernel in bank.kernels])
    lengths = np.linalg.norm(rows, axis=1)
    rows /= np.where(lengths > 0, lengths, 1.0)[:, None]
    return np.asarray(rows @ rows.T)
