"""From what a user gives to `fit`, `evaluate` or `predict` to the named arrays of a program."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn import config
from kernelearn.data import Dataset, StreamDataset, as_dataset
from kernelearn.data.arrays import as_float, as_target, clean_targets
from kernelearn.data.part import Part
from kernelearn.data.ragged import is_examples
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.layers.core.unknown_sizes import fits, has_unknown
from kernelearn.training.own.forms import taken_apart
from kernelearn.training.steps.objectives import Objective, check_outputs
from kernelearn.training.steps.step import Arrays, Batch, Given, input_name, target_name, weight_name

if TYPE_CHECKING:
    from kernelearn.layers.core.tensor import Tensor


def make_dataset(
    x: Any, y: Any = None, sample_weight: Any = None, tensors: Sequence[Tensor] | None = None
) -> Any:
    """A dataset of arrays, or the dataset or stream that x already is.

    Args:
        tensors: the inputs of the model, where they are known: whether a list holds inputs or images.
    NOTE: integer arrays become floats with the same values, as in Keras. Images loaded by
        `kernelearn.data.load` are scaled to [0, 1] by their own dataset.
    """
    if isinstance(x, Dataset | StreamDataset):
        return as_dataset(x, y, sample_weight)
    if _is_grey_list(x, tensors):
        x = [image[..., None] for image in x]
    return as_dataset(_as_floats(x), y, sample_weight, ragged=_is_ragged(x, y, tensors))


def _is_grey_list(x: Any, tensors: Sequence[Tensor] | None) -> bool:
    """Whether x is a list of grey images (h, w) for a model whose one input has a last axis of size 1."""
    if not isinstance(x, list | tuple) or not tensors or len(tensors) != 1:
        return False
    shape = tensors[0].shape
    is_grey = shape[-1] == 1 and len(shape) > 3
    return is_grey and all(isinstance(image, np.ndarray) and image.ndim == len(shape) - 2 for image in x)


def _is_ragged(x: Any, y: Any, tensors: Sequence[Tensor] | None) -> bool:
    """Whether x is a list of images, one example each, for a model with one input."""
    if not isinstance(x, list | tuple) or not x or not all(isinstance(item, np.ndarray) for item in x):
        return is_examples(x)
    if not tensors:
        return is_examples(x, y)
    return len(tensors) == 1 and all(item.ndim == len(tensors[0].shape) - 1 for item in x)


def _as_floats(x: Any) -> Any:
    """Integer and boolean arrays as floats, inside lists and dicts too; anything else as it is."""
    if isinstance(x, list | tuple) and x and all(hasattr(part, "shape") for part in x):
        return type(x)(_as_floats(part) for part in x)
    if isinstance(x, list | tuple) and any(isinstance(p, list) and p and hasattr(p[0], "shape") for p in x):
        return [_as_floats(part) for part in x]
    if isinstance(x, Mapping):
        return {key: _as_floats(part) for key, part in x.items()}
    if isinstance(x, np.ndarray) and x.dtype == object and is_examples(x):
        return [_as_floats(part) for part in x]
    if isinstance(x, np.ndarray) and x.dtype.kind in "iub":
        return x.astype(config.floatx())
    return x


def is_ready(x: Any, tensors: Sequence[Tensor]) -> bool:
    """Whether x is a batch that a dataset would only look at and hand on: for a short cut around it.

    One array for one input, of its type and shape, with at least one row and finite numbers only. False says
    nothing: the dataset then tells what is wrong, or converts.
    """
    if type(x) is not np.ndarray or len(tensors) != 1:
        return False
    tensor = tensors[0]
    if not x.dtype == tensor.dtype == config.floatx() or x.size == 0:
        return False
    if not fits(x.shape, tensor.shape):
        return False
    # NOTE: no term of a finite sum of squares is infinite or NaN. Much faster than to test every entry.
    return math.isfinite(np.vdot(x, x))


def ready_batch(x: Any, y: Any, tensors: Sequence[Tensor]) -> tuple[Any, Any, None] | None:
    """The batch that a dataset of these arrays would give, where x is ready and y one array; else None."""
    if type(y) is not np.ndarray or y.dtype.kind not in "biuf":
        return None
    if not is_ready(x, tensors) or y.shape[:1] != x.shape[:1]:
        return None
    return as_float(x), as_target(clean_targets(y)), None


class BatchRows:
    """Which rows of the data a batch of an epoch consists of.

    Args:
        data, batch_size, shuffle, seed: as the batches are made.
    """

    def __init__(self, data: Any, batch_size: int | None, shuffle: bool, seed: int) -> None:
        self._data, self._batch_size, self._shuffle, self._seed = data, batch_size, shuffle, seed
        self._epoch: int | None = None
        self._rows: list[np.ndarray] = []

    def of(self, epoch: int, batch: int) -> np.ndarray | None:
        """(n,) int64 row numbers in the data; None for a stream, which has no rows."""
        if not isinstance(self._data, Dataset) or self._batch_size is None:
            return None
        if epoch != self._epoch:
            self._rows = self._data.batch_rows(self._batch_size, self._shuffle, self._seed, epoch)
            self._epoch = epoch
        return self._rows[batch]


def training_and_validation(
    given: tuple[Any, ...], split: float, validation: Any, tensors: Sequence[Tensor]
) -> tuple[Any, Any]:
    """The datasets that `fit` trains on and validates with; None for no validation.

    Args:
        given: (x, y, sample_weight) to train on.
        split: share of the last rows to hold out; 0 for none.
        validation: (x, y), (x, y, sample_weight), a dataset, or None.
        tensors: the inputs of the model; none before its shapes are known.
    """
    x, y, weight = given
    data = make_dataset(x, y, weight, tensors)
    if split:
        if validation is not None:
            raise ArgumentError("Give validation_split or validation_data, not both.")
        return split_last(data, split)
    if validation is None:
        return data, None
    parts = tuple(validation) if isinstance(validation, tuple | list) else (validation,)
    if len(parts) > 3:
        raise ArgumentError(
            f"validation_data must be (x, y) or (x, y, sample_weight); got {len(parts)} parts."
        )
    x, y, weight = (*parts, None, None)[:3]
    return data, make_dataset(x, y, weight, tensors)


def split_last(dataset: Any, fraction: float) -> tuple[Any, Any]:
    """(training, validation): the last `fraction` of the rows, before any shuffling, as Keras does."""
    if not 0 < fraction < 1:
        raise ArgumentError(f"validation_split must lie between 0 and 1, got {fraction!r}.")
    if not isinstance(dataset, Dataset):
        raise ArgumentError("validation_split needs arrays or a Dataset; a stream has no last rows to take.")
    cut = int(np.floor(len(dataset) * (1 - fraction)))
    if cut in (0, len(dataset)):
        raise ArgumentError(f"validation_split={fraction} of {len(dataset)} samples leaves one part empty.")
    return dataset.subset(np.arange(cut)), dataset.subset(np.arange(cut, len(dataset)))


def program_inputs(x: Any, tensors: Sequence[Tensor], names: Sequence[str]) -> Arrays:
    """The images of a batch as program inputs.

    Raises: ShapeError if the number or a shape does not fit the model.
    """
    if isinstance(x, Mapping):
        missing = [name for name in names if name not in x]
        if missing:
            raise ShapeError(f"The model has inputs {list(names)}; x lacks {missing}.")
        parts = [x[name] for name in names]
    else:
        parts = list(x) if isinstance(x, list | tuple) else [x]
    if len(parts) != len(tensors):
        raise ShapeError(f"The model has {len(tensors)} inputs {list(names)}; got {len(parts)} arrays.")
    return {
        input_name(i): _checked(part, t, name) for i, (part, t, name) in enumerate(zip(parts, tensors, names))
    }


def with_channels(x: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """As in Keras: grey images (n, h, w) for an input (h, w, 1) get their last axis."""
    if x.ndim == len(shape) - 1 and x.ndim > 1 and shape[-1] == 1:
        return x[..., None]
    return x


def _checked(x: np.ndarray, tensor: Tensor, name: str) -> np.ndarray:
    x = with_channels(x, tensor.shape)
    if not fits(x.shape, tensor.shape):
        wanted = ("n", *("any" if s is None else s for s in tensor.shape[1:]))
        hint = ""
        if x.ndim == 4 and len(wanted) == 4 and x.shape[1] == wanted[-1]:
            hint = " These look like channels-first images: x.transpose(0, 2, 3, 1)."
        elif x.ndim == len(wanted) > 2 and x.shape[-1] == wanted[-1]:
            any_size = (*[None] * (x.ndim - 2), wanted[-1])
            hint = f" A model for any size is made with Input({any_size}), see the documentation of data."
        raise ShapeError(f"Input {name!r} takes arrays of shape {wanted}; got {x.shape}.{hint}")
    return np.ascontiguousarray(x, tensor.dtype)


def image_batch(x: Any, tensors: Sequence[Tensor], names: Sequence[str]) -> Batch:
    """The images of a batch, for a step that needs nothing else."""
    if isinstance(x, Part):
        return _part_of_batch(x, tensors, names)
    batch = Batch.of(program_inputs(x, tensors, names))
    _check_rows(batch)
    return batch


def _part_of_batch(x: Part, tensors: Sequence[Tensor], names: Sequence[str]) -> Batch:
    arrays = program_inputs(x.x, tensors, names)
    behind = x.first + len(arrays[input_name(0)])
    batch = Batch(arrays, x.rows, held=slice(x.first, behind))
    _check_rows(batch)
    return batch


def with_targets(batch: Batch, y: Any, weight: Any, objectives: Sequence[Objective], dtype: str) -> Batch:
    """A batch of images with targets and sample weights, as a training or test step takes it.

    Args:
        objectives: with the shapes that outputs have for these images.
    Raises: ShapeError, DataError, ArgumentError for what does not fit the model and its losses.
    """
    batch.arrays.update(program_targets(y, weight, objectives, batch.rows, dtype))
    _check_rows(batch)
    return batch


def with_anything(batch: Batch, y: Any, weight: Any, dtype: str) -> Batch:
    """A batch with targets and sample weights as they come, for a `compute_loss` of the model's own.

    Floats become the model's float type, integers int32 where they fit, as in Keras; y may be None.
    """
    arrays: Arrays = {}
    forms: list[Any] = []
    for value, name in ((y, target_name), (weight, weight_name)):
        leaves, form = ([], "none") if value is None else taken_apart(value)
        arrays.update((name(i), _as_given(leaf, dtype)) for i, leaf in enumerate(leaves))
        forms.append(form)
    specs = tuple((name, (None, *a.shape[1:]), a.dtype.name) for name, a in arrays.items())
    given = Given(forms[0], forms[1], specs)
    made = Batch({**batch.arrays, **arrays}, batch.rows, given, batch.held)
    _check_rows(made)
    return made


def _as_given(leaf: Any, dtype: str) -> np.ndarray:
    array = np.asarray(leaf)
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, dtype)
    fits = not array.size or (array.max() < 2**31 and array.min() >= -(2**31))
    return np.ascontiguousarray(array, "int32" if array.dtype.kind in "iu" and fits else array.dtype)


def _check_rows(batch: Batch) -> None:
    """Raise ShapeError unless every array of a batch has one row for each sample."""
    inputs, held = batch.inputs(), batch.held
    for name, array in batch.arrays.items():
        rows = batch.rows if held is None or name not in inputs else held.stop - held.start
        if array.shape[:1] != (rows,):
            raise ShapeError(
                "All arrays of a batch must have the same number of images (or samples): "
                f"{input_name(0)!r} has {rows}, {name!r} has the shape {array.shape}."
            )


def check_sizes(data: Any, tensors: Sequence[Tensor], names: Sequence[str]) -> None:
    """Raise ShapeError if the images of a dataset with one input have sizes that the model does not take."""
    if not isinstance(data, Dataset) or len(tensors) != 1 or has_unknown(tensors[0].shape):
        return
    if not data.has_several_sizes:
        return
    raise ShapeError(
        f"Input {names[0]!r} takes samples of shape {tensors[0].shape[1:]}; the data has images of several "
        f"sizes, {data.x_shape}. Resize them when loading, or make the model for any size: Input((None, "
        f"None, {tensors[0].shape[-1]})), with GlobalAveragePooling2D before the first Dense layer."
    )


def check_one_size(data: Any) -> None:
    """Raise ShapeError unless all examples can be in one batch."""
    if isinstance(data, Dataset) and data.has_several_sizes:
        raise ShapeError(
            f"A batch holds arrays of one size; these are {data.x_shape}, of several. Give one batch for "
            "each size, pad them (as_dataset(x, y).padded().batches(n)), or use fit, evaluate and predict, "
            "which take images of several sizes."
        )


def program_targets(y: Any, weight: Any, objectives: Sequence[Objective], rows: int, dtype: str) -> Arrays:
    """Targets and sample weights of a batch as program inputs."""
    if y is None and not any(objective.is_used for objective in objectives):
        return {}  # layers add what is trained on
    if y is None:
        raise ArgumentError("Training and evaluation need targets: give y, or a dataset with labels.")
    targets, weights = _per_output(y, objectives, "y"), weights_per_output(weight, objectives)
    arrays: Arrays = {}
    for i, (objective, target, w) in enumerate(zip(objectives, targets, weights)):
        if objective.is_used:
            arrays[target_name(i)] = np.ascontiguousarray(objective.target(target, dtype))
            arrays[weight_name(i)] = np.ascontiguousarray(objective.sample_weights(w, rows, dtype))
    return arrays


def weights_per_output(weight: Any, objectives: Sequence[Objective]) -> list[Any]:
    """The sample weights of each output: one array is for all of them, a dict may leave outputs out."""
    if isinstance(weight, Mapping):
        check_outputs(weight, [o.output for o in objectives], "sample_weight")
        return [weight.get(o.output) for o in objectives]
    if not isinstance(weight, list | tuple):
        return [weight] * len(objectives)
    if len(weight) != len(objectives):
        raise ShapeError(f"The model has {len(objectives)} outputs; sample_weight has {len(weight)} parts.")
    return list(weight)


def _per_output(value: Any, objectives: Sequence[Objective], what: str) -> list[Any]:
    if isinstance(value, Mapping):
        missing = [o.output for o in objectives if o.is_used and o.output not in value]
        if missing:
            raise ShapeError(f"{what} lacks outputs {missing}; it has {sorted(value)}.")
        return [value.get(o.output) for o in objectives]
    parts = list(value) if isinstance(value, list | tuple) and len(objectives) > 1 else [value]
    if len(parts) != len(objectives):
        raise ShapeError(f"The model has {len(objectives)} outputs; {what} has {len(parts)} parts.")
    return parts


def class_weights(
    y: Any, weight: Any, class_weight: Mapping[Any, Any] | None, objectives: Sequence[Objective]
) -> Any:
    """Sample weights multiplied by the weight of the class of each sample, or of each position of a mask.

    Args:
        class_weight: class number -> factor; for several outputs output name -> such a dict.
    Raises: ArgumentError for classes without a factor, and for one dict of classes for several outputs.
    """
    if class_weight is None:
        return weight
    factors = _factors(class_weight, objectives)
    if y is None:
        raise ArgumentError("class_weight needs targets: give y, or a dataset with labels.")
    targets, weights = _per_output(y, objectives, "y"), weights_per_output(weight, objectives)
    return [
        given if own is None or target is None else _times(objective.class_weights(target, own), given)
        for objective, target, given, own in zip(objectives, targets, weights, factors)
    ]


def _factors(
    class_weight: Mapping[Any, Any], objectives: Sequence[Objective]
) -> list[Mapping[int, float] | None]:
    names = [o.output for o in objectives]
    if any(isinstance(value, Mapping) for value in class_weight.values()):
        check_outputs(class_weight, names, "class_weight")
        return [class_weight.get(name) for name in names]
    if len(names) > 1:
        raise ArgumentError(
            f"The model has the outputs {names}, so class_weight must be a dict by output name: "
            f"class_weight={{{names[0]!r}: {dict(class_weight)}}}."
        )
    return [class_weight]


def _times(factors: np.ndarray, weight: Any) -> np.ndarray:
    """Factors of classes times weights that may lack trailing axes, or have some of size 1."""
    if weight is None:
        return factors
    weights = np.asarray(weight)
    while weights.ndim > factors.ndim and weights.shape[-1] == 1:
        weights = weights[..., 0]
    more = max(factors.ndim - weights.ndim, 0)
    product: np.ndarray = factors * weights.reshape(*weights.shape, *[1] * more)
    return product
