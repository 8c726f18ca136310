"""What every source gets and gives: `ReadOptions` in, `Parts` out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.data.arrays import (
    check_features,
    check_rows,
    clean_targets,
    encode_names,
    is_torch,
    to_numpy,
)
from kernelearn.data.dataset import Dataset, relabel
from kernelearn.data.layout import refuse_channels_first, to_images
from kernelearn.data.ragged import Ragged, is_examples, joined
from kernelearn.data.stores import ArrayStore
from kernelearn.data.stream import StreamDataset
from kernelearn.errors import DataError, ShapeError
from kernelearn.storage import absolute


@dataclass(frozen=True)
class ReadOptions:
    """The arguments of `load` that concern reading; explained there."""

    resize: tuple[int, int] | None
    keeps_sizes: bool
    channels: int | None
    channels_first: bool
    image_shape: tuple[int, ...] | None
    x_column: str | None
    y_column: str | None
    class_names: tuple[str, ...] | None
    max_bytes: int
    cache_bytes: int
    workers: int


@dataclass
class Parts:
    """What a source holds, before any split."""

    name: str
    train: Dataset | StreamDataset
    test: Dataset | StreamDataset | None = None
    validation: Dataset | StreamDataset | None = None
    class_names: list[str] | None = None
    warnings: list[str] = field(default_factory=list)


def image_dataset(
    x: Any, y: Any, options: ReadOptions, class_names: Sequence[str] | None = None, what: str = "x"
) -> Dataset:
    """Images and targets in memory as a `Dataset`, checked and brought into the order (n, h, w, c).

    Args:
        x: images in any layout that `to_images` takes.
        y: (n,) or (n, 1) ints or strings for classes, one-hot rows, or floats for regression.
        options: what to convert.
        class_names: names in the order of the labels, where the source has them.
        what: how to call it in messages, for example "x_train".
    Raises: ShapeError, DataError.
    """
    images = _images_of_several_sizes(x, options, what) if is_examples(x, y) else _images(x, options, what)
    if y is None:
        raise DataError(f"The labels that belong to {what} are missing. Give (x, y), or files with both.")
    labels, names = clean_labels(
        to_numpy(y, "labels"), f"labels of {what}", class_names or options.class_names
    )
    check_rows(len(images), labels, f"labels of {what}", what)
    return Dataset(ArrayStore(images), labels, class_names=names)


def _images(x: Any, options: ReadOptions, what: str) -> np.ndarray:
    """One array of images (n, h, w, c)."""
    images = check_features(to_numpy(x, what), what)
    if is_torch(x) and not options.channels_first:
        refuse_channels_first(images, what, is_torch_tensor=True)
    return to_images(
        images,
        image_shape=options.image_shape,
        channels_first=options.channels_first,
        channels=options.channels,
        resize=options.resize,
        what=what,
    )


def _images_of_several_sizes(x: Any, options: ReadOptions, what: str) -> Any:
    """Images from a list of arrays, resized to one size or as they are.

    Raises: DataError if they differ and `resize` does not say what to do.
    """
    images = joined([_images(image[None], options, f"{what}[{i}]")[0] for i, image in enumerate(x)], what)
    if isinstance(images, Ragged) and not options.keeps_sizes:
        raise DataError(
            f"The images of {what} have several sizes, {images.shape[1:]}. Give resize=(height, width) to "
            "bring them to one, or resize='keep' for a network of any size."
        )
    return images


def clean_labels(
    y: np.ndarray, what: str, class_names: Sequence[str] | None = None
) -> tuple[np.ndarray, list[str] | None]:
    """Labels as (n,) int64 class indices with names, or floats for regression.

    Strings become indices into `class_names` or, without, into their own sorted set. (n, 1) integers are
    flattened and one-hot rows turned into indices, because that is what both mean.
    """
    names = None if class_names is None else list(class_names)
    if y.ndim == 0:
        raise ShapeError(f"{what} must have one entry per example, got a single value.")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind in "US":
        indices, found = encode_names(y)
        return (indices, found) if names is None else (_along(indices, found, names, what), names)
    if _is_one_hot(y):
        y = y.argmax(axis=1)
    return clean_targets(y, what), names


def _along(indices: np.ndarray, found: list[str], names: list[str], what: str) -> np.ndarray:
    unknown = [name for name in found if name not in names]
    if unknown:
        raise DataError(f"{what} have classes {unknown[:10]} that are not in class_names={names[:20]}.")
    places = np.array([names.index(name) for name in found], dtype=np.int64)
    return np.take(places, indices)


def _is_one_hot(y: np.ndarray) -> bool:
    if y.ndim != 2 or y.shape[1] < 2 or y.dtype.kind not in "biuf":
        return False
    return bool((((y == 0) | (y == 1)).all(axis=1) & (y.sum(axis=1) == 1)).all())


def assemble(name: str, parts: dict[str, Dataset | None], warnings: list[str] | None = None) -> Parts:
    """`Parts` from datasets by role; a source that holds a test or validation part alone is all there is.

    With train and validation but no test part, the validation part is what the source holds out: it
    becomes the test part.
    """
    train, test, validation = (parts.get(role) for role in ("train", "test", "validation"))
    if train is None:
        train, test, validation = (test, None, validation) if test is not None else (validation, None, None)
    if train is None:
        raise DataError(f"{name} holds no examples.")
    if test is None:
        test, validation = validation, None
    names = train.class_names
    return Parts(name, train, _aligned(test, names), _aligned(validation, names), names, warnings or [])


def _aligned(part: Dataset | None, class_names: list[str] | None) -> Dataset | None:
    """String labels were numbered within each part; number those of `part` as the training part's are."""
    if part is None or class_names is None or part.class_names in (None, class_names):
        return part
    return relabel(part, class_names)


def local_name(path: Path) -> str:
    """A short name for a path: its last part without suffixes such as .zip or .tar.gz."""
    name = absolute(path).name
    for suffix in (".tar.gz", ".tgz", ".zip", ".npz", ".npy", ".tar"):
        name = name.removesuffix(suffix)
    return name
