"""A convolution as what it is: a dense layer most of whose weights are zero and the others tied together.

    y.ravel() = matrix @ x.ravel() + bias

The matrix has one row per output number and one column per input number. Its gradient as a dense layer,
delta.T @ x, summed over the entries that are tied, is the gradient of the kernel: what the ledger sums over
positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn._optional import require
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.explain.kernel.ties import Ties
from kernelearn.explain.table import Table

# Matrices up to this many entries may be written out in full.
_LARGEST_FULL = 2**26


@dataclass(frozen=True, eq=False)
class DenseEquivalent:
    """A layer as one sparse matrix with tied entries.

    Attributes:
        layer, weight, kind: name of the layer and its weight; operator ("conv", "conv_transpose", "dense").
        input_shape, output_shape: of one sample, in the order of the layer (channels first or last).
        kernel: values of the weight; bias: (outputs,) one per row, or None.
        ties: place of every entry that is not structurally zero, and which kernel entry it is.

    >>> from kernelearn.explain import dense_equivalent
    >>> attrs = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 1}
    >>> wide = dense_equivalent(attrs, (4, 1), kernel=np.array([2.0, 3.0]).reshape(2, 1, 1))
    >>> wide.matrix.toarray()
    array([[2., 3., 0., 0.],
           [0., 2., 3., 0.],
           [0., 0., 2., 3.]])
    >>> wide.tie_map().tolist()
    [[0, 1, -1, -1], [-1, 0, 1, -1], [-1, -1, 0, 1]]
    >>> wide.zeros, wide.tie_counts.ravel().tolist()
    (6, [3, 3])
    """

    layer: str
    weight: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    kernel: NDArray[Any]
    bias: NDArray[Any] | None
    ties: Ties

    @cached_property
    def matrix(self) -> Any:
        """scipy.sparse.csr_array (outputs, inputs); its `data` stand in the order of `ties`."""
        sparse = require("scipy.sparse", "the dense equivalent of a layer")
        return sparse.csr_array((self.kernel.ravel()[self.ties.kernel], *self._structure), shape=self.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs) of the matrix."""
        return prod(self.output_shape), prod(self.input_shape)

    @property
    def entries(self) -> int:
        """Numbers in the matrix: weights of the dense layer without constraints."""
        return prod(self.shape)

    @property
    def nonzeros(self) -> int:
        """Entries that are not structurally zero."""
        return len(self.ties.kernel)

    @property
    def zeros(self) -> int:
        """Entries that are zero whatever the kernel is: pixels outside of the window."""
        return self.entries - self.nonzeros

    @property
    def free(self) -> int:
        """Numbers that can be chosen: kernel entries that occur in the matrix."""
        return int(np.count_nonzero(self.tie_counts))

    @property
    def tie_counts(self) -> NDArray[Any]:
        """(*kernel) int64: in how many places of the matrix each kernel entry stands."""
        return np.bincount(self.ties.kernel, minlength=self.kernel.size).reshape(self.kernel.shape)

    def tie_map(self) -> NDArray[Any]:
        """(outputs, inputs) int64: number of the kernel entry, counted in C order; -1 for a zero.

        Raises: ArgumentError for a matrix too large to write out.
        """
        self._check_small("tie map")
        full = np.full(self.shape, -1, np.int64)
        full[self.ties.rows, self.ties.columns] = self.ties.kernel
        return full

    def apply(self, x: NDArray[Any]) -> NDArray[Any]:
        """(n, *output_shape): what the layer gives for x (n, *input_shape), before its activation."""
        x = self._checked(x, self.input_shape, "x")
        y = (self.matrix @ x.reshape(len(x), -1).T).T
        return np.asarray((y if self.bias is None else y + self.bias).reshape(len(x), *self.output_shape))

    def dense_gradient(self, x: NDArray[Any], delta: NDArray[Any]) -> NDArray[Any]:
        """(entries that are not zero,) float64: delta.T @ x there, in the order of `ties`.

        Args:
            x: (n, *input_shape); delta: (n, *output_shape) dL/dy.
        """
        x = self._checked(x, self.input_shape, "x").reshape(len(x), -1).astype(np.float64)
        delta = self._checked(delta, self.output_shape, "delta").reshape(len(x), -1)
        total = np.zeros(self.nonzeros)
        for pixels, errors in zip(x, delta.astype(np.float64)):
            total += pixels[self.ties.columns] * errors[self.ties.rows]
        return total

    def tied_sum(self, gradient: Any) -> NDArray[Any]:
        """(*kernel) float64: a gradient of the matrix summed over tied entries.

        Args:
            gradient: one number per entry in the order of `ties`, or the whole (outputs, inputs) matrix, as
                an array or sparse; what it holds at structural zeros is left out.
        """
        if getattr(gradient, "shape", None) == self.shape:
            gradient = gradient.tocsr() if hasattr(gradient, "tocsr") else gradient
            gradient = np.asarray(gradient[self.ties.rows, self.ties.columns]).ravel()
        values = np.asarray(gradient, np.float64)
        if values.shape != (self.nonzeros,):
            raise ShapeError(
                f"A gradient of this matrix has shape {self.shape}, or ({self.nonzeros},) for its entries "
                f"that are not zero; got {values.shape}."
            )
        return np.bincount(self.ties.kernel, values, self.kernel.size).reshape(self.kernel.shape)

    def kernel_gradient(self, x: NDArray[Any], delta: NDArray[Any]) -> NDArray[Any]:
        """(*kernel) float64: the dense gradient, summed over ties."""
        return self.tied_sum(self.dense_gradient(x, delta))

    def with_kernel(self, kernel: NDArray[Any]) -> DenseEquivalent:
        """The same structure with other values."""
        if np.shape(kernel) != self.kernel.shape:
            raise ShapeError(f"The kernel has shape {self.kernel.shape}; got {np.shape(kernel)}.")
        return replace(self, kernel=np.asarray(kernel))

    def table(self) -> Table:
        """The counts."""
        counts = self.tie_counts[self.tie_counts > 0]
        rows = (
            ("entries of the dense matrix", self.entries),
            ("of them zero", self.zeros),
            ("of them tied", self.nonzeros),
            ("numbers to choose", self.free),
            ("places of each, least", int(counts.min(initial=self.nonzeros))),
            ("places of each, most", int(counts.max(initial=0))),
        )
        sizes = f"{self.input_shape} -> {self.output_shape}"
        return Table(
            ("count", "numbers"), rows, f"{self.layer or self.kind}/{self.weight} {sizes} as a matrix"
        )

    def to_dict(self) -> dict[str, Any]:
        """Structure and values, as JSON values."""
        return {
            "layer": self.layer,
            "weight": self.weight,
            "kind": self.kind,
            "input_shape": list(self.input_shape),
            "output_shape": list(self.output_shape),
            "kernel": self.kernel.tolist(),
            "bias": None if self.bias is None else self.bias.tolist(),
            "rows": self.ties.rows.tolist(),
            "columns": self.ties.columns.tolist(),
            "ties": self.ties.kernel.tolist(),
            "counts": dict(self.table().rows),
        }

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    @cached_property
    def _structure(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Columns and beginnings of rows, as scipy's csr format wants them."""
        ends = np.cumsum(np.bincount(self.ties.rows, minlength=self.shape[0]))
        return self.ties.columns, np.concatenate([[0], ends])

    def _check_small(self, what: str) -> None:
        if self.entries > _LARGEST_FULL:
            raise ArgumentError(
                f"The {what} would have {self.entries:,} entries; use `ties`, or a smaller input_shape."
            )

    def _checked(self, array: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
        array = np.asarray(array)
        if array.shape[1:] != shape:
            raise ShapeError(f"{name} must have shape (n, {', '.join(map(str, shape))}); got {array.shape}.")
        return array


@dataclass(frozen=True, eq=False)
class ChainEquivalent:
    """A separable convolution: two matrices, one after the other; `stages` has each with its own ties."""

    stages: tuple[DenseEquivalent, ...]

    @cached_property
    def matrix(self) -> Any:
        """The product of the matrices, sparse; its entries are products of kernel entries."""
        first, *others = (stage.matrix for stage in self.stages)
        for matrix in others:
            first = matrix @ first
        return first.tocsr()

    @property
    def bias(self) -> NDArray[Any] | None:
        """(outputs,), of the last stage."""
        return self.stages[-1].bias

    def apply(self, x: NDArray[Any]) -> NDArray[Any]:
        """(n, *output_shape): what the layer gives for x (n, *input_shape), before its activation."""
        for stage in self.stages:
            x = stage.apply(x)
        return x

    def kernel_gradients(self, x: NDArray[Any], delta: NDArray[Any]) -> list[NDArray[Any]]:
        """The gradient of each kernel, from x (n, *input_shape) and delta (n, *output_shape) = dL/dy."""
        inputs = [np.asarray(x)]
        for stage in self.stages[:-1]:
            inputs.append(stage.apply(inputs[-1]))
        gradients: list[NDArray[Any]] = []
        for stage, given in zip(reversed(self.stages), reversed(inputs)):
            gradients.insert(0, stage.kernel_gradient(given, delta))
            flat = np.asarray(delta).reshape(len(x), -1)
            delta = (stage.matrix.T @ flat.T).T.reshape(len(x), *stage.input_shape)
        return gradients

    def to_dict(self) -> dict[str, Any]:
        """The stages, as JSON values."""
        return {"stages": [stage.to_dict() for stage in self.stages]}

    def __str__(self) -> str:
        return "\n".join(map(str, self.stages))

    def _repr_html_(self) -> str:
        return "".join(stage._repr_html_() for stage in self.stages)
