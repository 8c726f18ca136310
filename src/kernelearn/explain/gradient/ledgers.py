"""The ledger of a weight: every term of its gradient, one for each image and position, as numbers.

    dL/dW[i,j,c,f] = sum over images n and positions (p,q) of  x[n, p*s+i*d, q*s+j*d, c] * delta[n,p,q,f]

Each term is this input times this error. A dense layer has one term per image, a convolution one per image
and position: that sum is the whole difference between the two. The factors come from a recorded run
(`recording.Factors`); products are formed in float64 and compared with the gradient of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.gradient import ledger_text
from kernelearn.explain.gradient.pairs import Index, Pairs, every_position, operator_index, pairs_of
from kernelearn.explain.gradient.terms import Contribution, top_terms
from kernelearn.explain.runs import opened
from kernelearn.recording.factors import Factors, Part

if TYPE_CHECKING:
    from kernelearn.recording.run import Run


class Sums(NamedTuple):
    """Terms summed under a key: keys (k,) int64 ascending, sums (k,) float64, counts (k,) of terms."""

    keys: np.ndarray
    sums: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True, eq=False)
class Ledger:
    """All terms of the gradient of one weight at one step. One entry per term, images in order of the batch.

    "Per image" means: entering at the positions of that image. Where BatchNormalization follows the layer,
    the error of one image depends on all images of its batch (`mixes_images`).

    Attributes:
        layer, weight, index, step: which number of which weight; step k explains the change from k-1 to k.
        kind: operator: "conv", "conv_transpose", "dense" or "bias" (whose inputs are all 1).
        images: (t,) int64 number of the image in the data; rows: (t,) its row in the batch.
        labels: (t,) class of the image, or None.
        positions: (t, rank) position of the window; rank 0 for a dense layer on (n, c).
        pixels: (t, rank) where this weight reads at the position; outside of the image in the padding.
        uses: (t,) which call of the layer, 0 unless the layer is shared.
        inputs, deltas, terms: (t,) float64, terms = inputs * deltas.
        gradient: the engine's, with penalties on the weight; penalty: their part of it.
        mixes_images: whether the network has batch normalisation; None if that is not known.

    >>> x, delta = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.5], [-1.0]])
    >>> book = ledger(Factors("dense", x, delta, gradient=x.T @ delta), weight=(1, 0))
    >>> book.terms.tolist(), book.total, book.residual
    ([1.0, -4.0], -3.0, 0.0)
    """

    layer: str
    weight: str
    index: Index
    step: int
    kind: str
    images: np.ndarray
    rows: np.ndarray
    labels: np.ndarray | None
    positions: np.ndarray
    pixels: np.ndarray
    uses: np.ndarray
    inputs: np.ndarray
    deltas: np.ndarray
    terms: np.ndarray
    gradient: float
    penalty: float = 0.0
    mixes_images: bool | None = None
    factors: Factors | None = field(default=None, repr=False)
    run: Any = field(default=None, repr=False)

    @property
    def total(self) -> float:
        """Sum of all terms, in float64."""
        return float(self.terms.sum())

    @property
    def residual(self) -> float:
        """Total plus penalty minus the engine's gradient: its rounding, or else a mistake."""
        return self.total - (self.gradient - self.penalty)

    @property
    def relative_residual(self) -> float:
        """|residual| by the sum of absolute terms, the scale on which the engine rounds."""
        size = float(np.abs(self.terms).sum())
        return abs(self.residual) / size if size else abs(self.residual)

    @property
    def in_padding(self) -> np.ndarray:
        """(t,) bool: terms whose window reads beside the image; they are 0."""
        if self.factors is None or not self.pixels.shape[1] or self.kind in ("bias", "dense"):
            return np.zeros(len(self.terms), bool)
        parts = self.factors.parts
        arrays = [part.x if part.kind == "conv" else part.delta for part in parts]
        sizes = np.array([array.shape[1:-1] for array in arrays])[self.uses]
        return np.asarray(((self.pixels < 0) | (self.pixels >= sizes)).any(axis=1))

    def by_image(self) -> Sums:
        """Terms summed over the positions of each image."""
        return _summed(self.images, self.terms)

    def by_row(self) -> Sums:
        """Terms summed over the positions of each row of the batch: an image that is in it twice has two."""
        return _summed(self.rows, self.terms)

    def by_class(self) -> Sums:
        """Terms summed over each class.

        Raises: ArgumentError if the classes are not known.
        """
        if self.labels is None:
            raise ArgumentError("The ledger has no classes: the targets of this step are no class numbers.")
        return _summed(self.labels, self.terms)

    def by_position(self) -> np.ndarray:
        """(*positions) float64: terms summed over the images; a number for a dense layer on (n, c).

        Raises: ArgumentError for a shared layer whose calls have different sizes.
        """
        # A bias has a term for each output, also of a transposed convolution.
        sizes = _outputs_of if self.kind == "bias" else _positions_of
        part_sizes = {sizes(part) for part in self.factors.parts} if self.factors else set()
        if len(part_sizes) > 1:
            raise ArgumentError(
                f"The calls of layer {self.layer!r} have outputs of different sizes ({sorted(part_sizes)}), "
                "which have no common positions; use `positions` and `uses`."
            )
        shape = part_sizes.pop() if part_sizes else tuple(self.positions.max(axis=0) + 1)
        place = self.positions @ _strides_of(shape)
        return np.bincount(place, self.terms, int(np.prod(shape, dtype=int))).reshape(shape)

    def top(
        self, k: int = 5, images: Any = None, model: Any = None, sign: int | None = None
    ) -> list[Contribution]:
        """The k largest terms, by absolute value, with what was read there.

        Args:
            images: the data, to cut out of it what the position sees: an array or list indexed by the number
                of the image, or a function of it.
            model: for the receptive field; that of the run by default.
            sign: 1 or -1 for terms of that sign only.
        """
        return top_terms(self, k, images, model, sign)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the factors, as JSON values."""
        names = ("layer", "weight", "step", "kind", "gradient", "penalty", "total", "residual")
        arrays = ("images", "rows", "positions", "pixels", "uses", "inputs", "deltas", "terms")
        return {
            **{name: getattr(self, name) for name in names},
            "index": list(self.index),
            "mixes_images": self.mixes_images,
            "note": ledger_text.NOTE,
            "labels": None if self.labels is None else self.labels.tolist(),
            **{name: getattr(self, name).tolist() for name in arrays},
        }

    @property
    def formula(self) -> str:
        """The sum that this ledger lists, with the numbers of this layer filled in."""
        return ledger_text.formula(self)

    def __str__(self) -> str:
        return ledger_text.as_text(self)

    def _repr_html_(self) -> str:
        return ledger_text.as_html(self)


def ledger(
    source: Any, layer: str | None = None, step: int | None = None, weight: Sequence[Any] = ()
) -> Ledger:
    """Every term of the gradient of one weight at one step.

    Args:
        source: a `recording.Run`, with `layer` and one of its `ledger_steps` as `step`; or `Factors`.
        weight: index of the number in the kernel, (i, j, c, f) in 2-D, (c, f) for a dense layer. With the
            name of the weight in front for others: ("bias", f), ("depthwise_kernel", i, j, c, m).
    Raises: ArgumentError for an index outside of the weight or a step without ledger; UnknownNameError.
    """
    source = opened(source)
    name, index = weight_and_index(weight)
    if isinstance(source, Factors):
        factors, run = source, None
    else:
        factors, run = _factors_of(source, layer, step, name), source
    if name == "bias":
        return _bias_ledger(factors, index, run)
    at = operator_index(index, factors.gradient.shape, factors.kernel_shape)
    pairs = [pairs_of(part, at, factors.kernel_shape) for part in factors.parts]
    book = _assembled(factors, pairs, tuple(int(i) % n for i, n in zip(index, factors.gradient.shape)))
    gradient = float(factors.gradient[book.index])
    penalty = gradient - float(factors.from_data[book.index])
    return replace(book, gradient=gradient, penalty=penalty, run=run, mixes_images=_has_batch_norm(run))


def weight_and_index(weight: Sequence[Any]) -> tuple[str, Index]:
    """Name and index of `weight=(i, j, c, f)` or `weight=("bias", f)`.

    >>> weight_and_index((0, 1, 2, 3)), weight_and_index(("bias", 3))
    (('kernel', (0, 1, 2, 3)), ('bias', (3,)))
    """
    given = tuple(weight) if isinstance(weight, Sequence | np.ndarray) else (weight,)
    name, index = (given[0], given[1:]) if given and isinstance(given[0], str) else ("kernel", given)
    if not index or not all(isinstance(i, int | np.integer) for i in index):
        raise ArgumentError(
            f"weight must be an index such as (i, j, c, f), or a name and an index such as ('bias', f); "
            f"got {weight!r}."
        )
    return name, tuple(int(i) for i in index)


def _factors_of(run: Run, layer: str | None, step: int | None, name: str) -> Factors:
    if layer is None or step is None:
        raise ArgumentError("A ledger of a run needs layer= and step=; run.ledger_steps lists the steps.")
    return run.ledger(layer, int(step), weight=kernel_of_bias(run, layer) if name == "bias" else name)


def kernel_of_bias(run: Any, layer: str) -> str:
    """The kernel whose factors a bias is in: a separable layer adds its bias after its second kernel."""
    return "pointwise_kernel" if "pointwise_kernel" in run.weights(layer) else "kernel"


def _bias_ledger(factors: Factors, index: Index, run: Any) -> Ledger:
    """One term per image and position: the error itself, since a bias has 1 for input."""
    filters = factors.delta.shape[-1]
    shape = (filters,) if factors.bias_gradient is None else factors.bias_gradient.shape
    (f,) = operator_index(index, shape, (filters,))
    pairs = []
    for part in factors.parts:
        delta = np.asarray(part.delta[..., f], np.float64)
        pairs.append(Pairs(np.ones_like(delta), delta, every_position(delta.shape[1:]), 0, f))
    book = _assembled(factors, pairs, (f,))
    return replace(
        book,
        weight="bias",
        kind="bias",
        gradient=book.total if factors.bias_gradient is None else float(factors.bias_gradient.flat[f]),
        penalty=_bias_penalty(run, factors, f),
        run=run,
        mixes_images=_has_batch_norm(run),
    )


def _bias_penalty(run: Any, factors: Factors, f: int) -> float:
    """The regulariser's part of the gradient of a bias; factors alone do not have it apart."""
    if run is None or "bias" not in run.weights(factors.layer):
        return 0.0
    # NOTE: loads the layers, which a ledger of factors does without.
    from kernelearn.explain.gradient.penalties import Penalties

    penalty = Penalties(run, factors.layer, "bias").at(int(factors.step))
    return 0.0 if penalty is None else float(penalty.flat[f])


def _assembled(factors: Factors, pairs: list[Pairs], index: Index) -> Ledger:
    """The ledger without its gradient, the terms of all uses one after another."""
    counts = [p.inputs.size for p in pairs]
    images = np.asarray(factors.images)
    rows = np.concatenate([np.repeat(np.arange(len(p.inputs)), _per_image(p)) for p in pairs])
    positions = np.concatenate([_tiled(every_position(p.inputs.shape[1:]), len(p.inputs)) for p in pairs])
    inputs = np.concatenate([p.inputs.ravel() for p in pairs])
    deltas = np.concatenate([p.deltas.ravel() for p in pairs])
    return Ledger(
        layer=factors.layer,
        weight=factors.weight,
        index=index,
        step=int(factors.step),
        kind=factors.kind,
        images=images[rows],
        rows=rows,
        labels=None if factors.labels is None else np.asarray(factors.labels)[rows],
        positions=positions,
        pixels=np.concatenate([_tiled(p.window_pixels, len(p.inputs)) for p in pairs]),
        uses=np.repeat(np.arange(len(pairs)), counts),
        inputs=inputs,
        deltas=deltas,
        terms=inputs * deltas,
        gradient=np.nan,
        factors=factors,
    )


def _per_image(pairs: Pairs) -> int:
    return int(np.prod(pairs.inputs.shape[1:], dtype=int))


def _tiled(grid: np.ndarray, images: int) -> np.ndarray:
    """(*positions, rank) once for every image -> (terms, rank)."""
    flat = grid.reshape(int(np.prod(grid.shape[:-1], dtype=int)), grid.shape[-1])
    return np.tile(flat, (images, 1))


def _positions_of(part: Part) -> tuple[int, ...]:
    return part.x.shape[1:-1] if part.kind == "conv_transpose" else part.delta.shape[1:-1]


def _outputs_of(part: Part) -> tuple[int, ...]:
    return part.delta.shape[1:-1]


def _strides_of(shape: tuple[int, ...]) -> np.ndarray:
    """How far apart neighbours on each axis are in an array of this shape, counted in numbers."""
    return np.array([int(np.prod(shape[axis + 1 :], dtype=int)) for axis in range(len(shape))], np.int64)


def _summed(keys: np.ndarray, terms: np.ndarray) -> Sums:
    found, place = np.unique(keys, return_inverse=True)
    return Sums(found, np.bincount(place, terms, len(found)), np.bincount(place, minlength=len(found)))


def _has_batch_norm(run: Any) -> bool | None:
    """Whether the recorded network has a BatchNormalization layer; None without a run."""
    if run is None:
        return None
    # The manifest tells of much more than the model, and lists grow with a run.
    return _mentions(run.manifest if run.about.model is None else run.about.model, "BatchNormalization")


def _mentions(config: Any, name: str) -> bool:
    """Whether a value of a nested config is this name."""
    if isinstance(config, Mapping):
        return any(_mentions(value, name) for value in config.values())
    if isinstance(config, list | tuple):
        return any(_mentions(value, name) for value in config)
    return bool(config == name)
