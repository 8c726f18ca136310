"""`load`: one door for every source of images, from a name, path or object to `Data`."""

import copy
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.data.arrays import check_range
from kernelearn.data.bundle import AnyDataset, Data
from kernelearn.data.dataset import Dataset, relabel
from kernelearn.data.images import KEEP, resolve_channels, resolve_size
from kernelearn.data.order import check_seed
from kernelearn.data.sources import ACCEPTED, SOURCES, digits
from kernelearn.data.sources.common import Parts, ReadOptions
from kernelearn.errors import ArgumentError, DataError, ShapeError
from kernelearn.formats.foreign import is_utf8, printable


def load(
    source: Any = "digits",
    *,
    validation: Any = 0.0,
    test: Any = None,
    seed: int = 0,
    stratify: bool = True,
    shuffle_split: bool = True,
    test_fraction: float = 0.2,
    resize: int | tuple[int, int] | str | None = None,
    channels: int | None = None,
    channels_first: bool = False,
    image_shape: tuple[int, ...] | None = None,
    x_column: str | None = None,
    y_column: str | None = None,
    class_names: Sequence[str] | None = None,
    max_bytes: int = 8 << 30,
    cache_bytes: int = 1 << 30,
    workers: int | None = None,
) -> Data:
    """Load images and labels from any source, divided into training, validation and test part.

    The parts:
    - A test part that the source brings (MNIST's t10k-, a test/ folder, x_test) is kept. `test=None` then
      means that part; where the source has none, it means `test_fraction` of the examples.
    - `test=` a fraction or count takes that much for testing, `test=False` makes no test part, `test=` a
      further source (a path, (x, y), ...) uses all of it.
    - `validation=` a fraction or count is taken from the training part after the test part was, or is a
      further source. A validation part that the source brings is kept; without a test part beside it, it
      is the test part.
    - Examples are drawn by `seed`, each class in proportion. `shuffle_split=False` draws nothing: the
      last examples are for testing, the last before them for validation.
    - Streams are never divided: their test and validation parts are further streams.

    Args:
        source: see `kernelearn.data.ACCEPTED` for the list.
        validation: 0 for none, or see above.
        test: see above.
        seed: of the splits; the same seed gives the same parts.
        stratify: keep the proportions of the classes in every part.
        shuffle_split: False divides in the order of the source.
        test_fraction: used when `test` is None and the source has no test part.
        resize: int or (height, width) in pixels to stretch every image to; "keep" for pictures that keep
            their own sizes, for a network of any size; None refuses pictures of several sizes.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA) for every image; None keeps what the pictures have.
        channels_first: arrays or streams are (n, c, h, w) and are to be converted to (n, h, w, c).
        image_shape: (height, width) or (height, width, channels) of arrays with one flat row per image.
        x_column, y_column: names of columns or arrays, where the usual ones do not fit. CIFAR-100:
            y_column="coarse" gives its 20 coarse classes.
        class_names: names in the order of the labels. For image folders the classes to expect, so that
            data for a trained network is labelled as it was trained; classes may then be missing.
        max_bytes: refuse files that would unpack to more.
        cache_bytes: keep decoded pictures in memory up to this size, else decode them batch by batch.
        workers: threads that decode; None is one per processor, 8 at most.
    Raises: DataError for sources that are unknown, unreadable, unsafe or inconsistent; ShapeError for
        arrays of the wrong layout; ArgumentError for arguments out of range; MissingDependencyError.

    >>> data = load("digits")
    >>> len(data.train), len(data.test), data.input_shape, data.classes
    (1438, 359, (8, 8, 1), 10)
    """
    options = ReadOptions(
        resize=None if resize == KEEP else resolve_size(resize),
        keeps_sizes=resize == KEEP,
        channels=resolve_channels(channels),
        channels_first=channels_first,
        image_shape=image_shape,
        x_column=x_column,
        y_column=y_column,
        class_names=None if class_names is None else _check_names(class_names),
        max_bytes=max_bytes,
        cache_bytes=cache_bytes,
        workers=workers or min(8, os.cpu_count() or 1),
    )
    check_seed(seed)
    parts = _renamed(read_source(source, options), options.class_names)
    options = _following(options, parts)
    rule = _SplitRule(seed, stratify, shuffle_split)
    parts = _with_test(parts, test, test_fraction, options, rule)
    parts = _with_validation(parts, validation, options, rule)
    return _checked(parts, class_names is not None, options.keeps_sizes)


def read_source(source: Any, options: ReadOptions) -> Parts:
    """`Parts` of a source, by the first kind of source that knows it.

    Raises: DataError listing what is accepted.
    """
    located = _located(source)
    for module in SOURCES:
        if module.matches(located):
            parts: Parts = module.read(located, options)
            return parts
    raise DataError(f"Not a known source of data: {_shown(source)}. Accepted are:\n{ACCEPTED}")


@dataclass(frozen=True)
class _SplitRule:
    """How parts are drawn."""

    seed: int
    stratify: bool
    shuffle: bool

    def split(self, dataset: AnyDataset, size: float, what: str) -> tuple[Dataset, Dataset]:
        if not isinstance(dataset, Dataset):
            raise DataError(
                f"A stream cannot be divided. Give {what}= another stream or arrays, or leave it out."
            )
        return dataset.split(size, self.seed, self.stratify, self.shuffle, what)


def _located(source: Any) -> Any:
    """Strings other than known names as paths that exist.

    Raises: DataError for a path that is not there or a file of no known kind.
    """
    if not isinstance(source, str | os.PathLike) or digits.matches(source):
        return source
    path = Path(source).expanduser()
    if not is_utf8(str(path)):
        raise DataError(f"The name {printable(path)} is not UTF-8. Rename the file or folder.")
    if not path.exists():
        raise DataError(
            f"There is no file or folder {str(source)!r}, and it is no known name. Nothing is fetched from "
            "the "
            f"network. Accepted are:\n{ACCEPTED}"
        )
    if path.suffix.lower() in (".pkl", ".pickle", ".pt", ".pth", ".joblib"):
        raise DataError(
            f"{path} is a pickle, and reading a pickle runs the code in it, so kernelearn does not. Save "
            "the arrays with np.savez(file, x_train=..., y_train=...) and load that."
        )
    if not any(module.matches(path) for module in SOURCES):
        raise DataError(f"{path} is a file of no known kind. Accepted are:\n{ACCEPTED}")
    return path


def _following(options: ReadOptions, parts: Parts) -> ReadOptions:
    """Options for a further source: its classes are those of the training part."""
    return options if parts.class_names is None else replace(options, class_names=tuple(parts.class_names))


def _with_test(parts: Parts, test: Any, fraction: float, options: ReadOptions, rule: _SplitRule) -> Parts:
    if test is None:
        if parts.test is not None or not isinstance(parts.train, Dataset):
            return parts
        test = fraction
    if _is_nothing(test):
        return replace(parts, test=None)
    if not _is_size(test):
        return replace(parts, test=_further(test, parts, options, "test"))
    if parts.test is not None:
        raise ArgumentError(
            f"test={test!r}, but {parts.name} comes with a test part of its own ({parts.test.size} "
            "examples). Leave test=None to use it, or give test=False to do without."
        )
    train, held_out = rule.split(parts.train, test, "test")
    return replace(parts, train=train, test=held_out)


def _with_validation(parts: Parts, validation: Any, options: ReadOptions, rule: _SplitRule) -> Parts:
    if _is_nothing(validation):
        return parts
    if not _is_size(validation):
        return replace(parts, validation=_further(validation, parts, options, "validation"))
    if parts.validation is not None:
        note = f"{parts.name} comes with a validation part; it is used, and validation={validation} is not."
        return replace(parts, warnings=[*parts.warnings, note])
    train, held_out = rule.split(parts.train, validation, "validation")
    return replace(parts, train=train, validation=held_out)


def _further(source: Any, parts: Parts, options: ReadOptions, role: str) -> AnyDataset:
    """The one part of a further source. Raises: DataError if it has several, ShapeError for other shapes."""
    other = _renamed(read_source(source, options), options.class_names)
    if other.test is not None:
        raise DataError(f"{role}={_shown(source)} has a test part of its own; give a source with one part.")
    return other.train


def _is_nothing(size: Any) -> bool:
    return size is None or size is False or (_is_size(size) and size == 0)


def _shown(source: Any) -> str:
    """A source in a message: paths and names as they are, objects by their type."""
    if isinstance(source, str | os.PathLike):
        return repr(os.fspath(source))
    return f"an object of type {type(source).__name__}"


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating)


def _check_names(names: Sequence[str]) -> tuple[str, ...]:
    result = tuple(str(name) for name in names)
    if isinstance(names, str) or len(set(result)) != len(result) or not result:
        raise ArgumentError(f"class_names must be distinct names, got {names!r}.")
    return result


def _renamed(parts: Parts, class_names: tuple[str, ...] | None) -> Parts:
    """Give the parts the user's class names: by name where the source has the same names, else in order."""
    if class_names is None or parts.class_names == list(class_names):
        return parts
    own = parts.class_names
    by_name = own is not None and set(own) <= set(class_names)
    if own is not None and not by_name and len(own) != len(class_names):
        raise DataError(
            f"class_names has {len(class_names)} names, but {parts.name} has {len(own)} classes: {own[:20]}."
        )
    change: Callable[..., Any] = relabel if by_name else _retitled
    changed = {
        role: change(part, class_names)
        for role in ("train", "test", "validation")
        if (part := getattr(parts, role)) is not None
    }
    return replace(parts, class_names=list(class_names), **changed)


def _retitled(part: AnyDataset, class_names: tuple[str, ...]) -> AnyDataset:
    changed = copy.copy(part)
    changed.class_names = list(class_names)
    return changed


def _checked(parts: Parts, may_miss_classes: bool, keeps_sizes: bool) -> Data:
    """Checks that need all parts: equal shapes, labels in range, no empty class."""
    datasets = {
        role: part
        for role in ("train", "validation", "test")
        if isinstance(part := getattr(parts, role), Dataset)
    }
    _check_shapes(datasets, keeps_sizes)
    classes = len(parts.class_names) if parts.class_names else _count_classes(datasets)
    warnings = list(parts.warnings)
    if classes:
        for role, part in datasets.items():
            check_range(_class_labels(part, role), classes, f"the {role} part")
        if "train" in datasets and not may_miss_classes:
            _check_no_empty_class(datasets["train"], classes, parts.class_names)
    elif "train" in datasets:
        warnings += _target_warnings(datasets["train"].labels)
    return Data(parts.name, parts.train, parts.validation, parts.test, classes, parts.class_names, warnings)


def _check_shapes(datasets: dict[str, Dataset], keeps_sizes: bool) -> None:
    """Every part must be labelled images of one shape, or at least of one number of channels."""
    shapes = {role: part.x_shape for role, part in datasets.items()}
    for role, shape in shapes.items():
        sides = shape[-1:] if keeps_sizes and isinstance(shape, tuple) else shape
        if not isinstance(sides, tuple) or len(shape) != 3 or any(type(side) is not int for side in sides):
            raise ShapeError(f"Images of the {role} part must be (h, w, c), got {shape}.")
        if datasets[role].labels is None:
            raise DataError(f"The {role} part has no labels; load needs images with labels.")
    if len({shape[-1:] if keeps_sizes else shape for shape in shapes.values()}) > 1:
        listed = ", ".join(f"{role} {shape}" for role, shape in shapes.items())
        raise ShapeError(
            f"The images of all parts must have one shape, got {listed}. Give resize= or channels=."
        )


def _count_classes(datasets: dict[str, Dataset]) -> int:
    """One more than the highest label; 0 if the training targets are no class indices."""
    train = datasets.get("train")
    if train is None or not train.has_classes:
        return 0
    return 1 + max(int(part.labels.max()) for part in datasets.values() if part.has_classes)


def _class_labels(part: Dataset, role: str) -> np.ndarray:
    if not part.has_classes:
        raise DataError(
            f"The {role} part has real-valued targets where class indices are expected. Cast them to int."
        )
    labels: np.ndarray = part.labels
    return labels


def _check_no_empty_class(train: Dataset, classes: int, names: list[str] | None) -> None:
    present = set(np.unique(train.labels).tolist())
    missing = classes - len(present)
    if missing:
        first = itertools.islice((index for index in range(classes) if index not in present), 10)
        listed = ", ".join(names[index] if names else str(index) for index in first)
        raise DataError(
            f"{missing} of {classes} classes have no training example: {listed}. Relabel from 0 without "
            "gaps, for example with np.unique(y, return_inverse=True)[1]; cast the targets to float for "
            "regression; do not divide sorted data with shuffle_split=False."
        )


def _target_warnings(targets: np.ndarray) -> list[str]:
    if targets.ndim == 1 and (targets == np.rint(targets)).all() and len(np.unique(targets)) <= 100:
        return ["The targets are floats but whole numbers; cast them to int if they are classes, not values."]
    return []
