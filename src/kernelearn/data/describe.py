"""What a data set holds, as numbers that a person checks before training: `Data.describe()`.

Statistics are those of the batches, that is after uint8 was scaled to [0, 1], over the training part.
"""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.data.arrays import class_counts
from kernelearn.data.dataset import Dataset
from kernelearn.data.order import sample_order
from kernelearn.errors import DataError

if TYPE_CHECKING:
    from kernelearn.data.bundle import Data

_LAZY_SAMPLE = 2000  # pictures decoded for statistics when the set does not fit into memory
_BATCH = 256
_PIECE_VALUES = 1 << 20
_IMBALANCE = 10
_FEW = 10


@dataclasses.dataclass(frozen=True)
class Description:
    """Counts, balance and statistics of a data set.

    Attributes:
        counts: part -> number of examples.
        balance: part -> number of examples of each class; empty for regression.
        mean, std: per channel, of the training part as batches give it.
        minimum, maximum: over all values looked at.
        statistics_from: number of training examples that mean, std, minimum and maximum come from.
        dtype: type the examples are stored in.
        is_lazy: whether pictures are decoded batch by batch.
        targets: mean, std, minimum and maximum of real-valued targets; None for classes.
        warnings: what looks wrong or unusual, in sentences.
    """

    name: str
    input_shape: tuple[int, ...]
    dtype: str
    is_lazy: bool
    classes: int
    class_names: list[str] | None
    counts: dict[str, int]
    balance: dict[str, list[int]]
    mean: list[float]
    std: list[float]
    minimum: float
    maximum: float
    statistics_from: int
    targets: dict[str, float] | None
    fingerprint: str
    warnings: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {**dataclasses.asdict(self), "input_shape": list(self.input_shape)}

    def _sizes(self) -> str:
        return " x ".join("any" if size is None else str(size) for size in self.input_shape)

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of every line but the class table."""
        values = [
            ("Images", f"{self._sizes()} (height x width x channels), {self.dtype}"),
            ("Examples", ", ".join(f"{count:,} {part}" for part, count in self.counts.items())),
            ("Kept", "decoded batch by batch" if self.is_lazy else "in memory"),
            ("Mean per channel", _numbers(self.mean)),
            ("Std per channel", _numbers(self.std)),
            ("Range", f"{self.minimum:.4g} to {self.maximum:.4g}"),
            ("Statistics from", f"{self.statistics_from:,} training examples"),
            ("Fingerprint", self.fingerprint),
        ]
        if self.targets is not None:
            values.append(("Targets", ", ".join(f"{key} {value:.4g}" for key, value in self.targets.items())))
        return values

    def class_rows(self) -> list[tuple[str, ...]]:
        """(class, count in each part ...) for every class."""
        titles = class_titles(self.classes, self.class_names)
        return [
            (title, *(str(counts[i]) for counts in self.balance.values())) for i, title in enumerate(titles)
        ]

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.classes} classes" if self.classes else f"{self.name}: real-valued targets"
        ]
        lines += [f"  {label:<17}{text}" for label, text in self.rows()]
        if self.classes:
            lines.append(f"  {'Class':<17}{'  '.join(f'{part:>10}' for part in self.balance)}")
            lines += [
                f"  {name:<17}{'  '.join(f'{c:>10}' for c in counts)}" for name, *counts in self.class_rows()
            ]
        return "\n".join(lines + [f"  Warning: {text}" for text in self.warnings])

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        facts = Table(title=self.name, show_header=False, title_justify="left")
        for label, text in self.rows():
            facts.add_row(label, Text(text))
        classes = Table("Class", *(part.capitalize() for part in self.balance))
        for row in self.class_rows():
            classes.add_row(*map(Text, row))
        warnings = [Text(f"Warning: {text}", style="yellow") for text in self.warnings]
        return Group(facts, *([classes] if self.classes else []), *warnings)


def describe(data: "Data") -> Description:
    """Look at a data set; reads at most 2,000 pictures of one that is not in memory.

    Raises: DataError for streams, which cannot be looked at without using them up.
    """
    train = data.train
    if not isinstance(train, Dataset):
        raise DataError(
            "A stream cannot be described without reading it. Collect its batches into arrays first."
        )
    parts = {role: part for role, part in data.parts().items() if isinstance(part, Dataset)}
    balance = {role: _counts(part, data.classes) for role, part in parts.items()} if data.classes else {}
    looked_at = train.subset(np.sort(sample_order(len(train), 0)[:_LAZY_SAMPLE])) if train.is_lazy else train
    mean, std, minimum, maximum = channel_statistics(looked_at)
    return Description(
        name=data.name,
        input_shape=data.input_shape,
        dtype=str(train.dtype),
        is_lazy=train.is_lazy,
        classes=data.classes,
        class_names=data.class_names,
        counts={role: len(part) for role, part in parts.items()},
        balance=balance,
        mean=mean.tolist(),
        std=std.tolist(),
        minimum=minimum,
        maximum=maximum,
        statistics_from=len(looked_at),
        targets=None if data.classes else _target_statistics(train.labels),
        fingerprint=data.fingerprint,
        warnings=[*data.warnings, *_warnings(parts, balance, data.class_names, std)],
    )


def channel_statistics(dataset: Dataset) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Per-channel mean and standard deviation in float64, and the smallest and largest value.

    Pieces are merged by their means and squared deviations, which stays exact where the difference of
    large sums would not (Chan, Golub and LeVeque, 1979).
    """
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    minimum, maximum = np.inf, -np.inf
    for values in _pieces(dataset):
        piece_mean = values.mean(axis=0)
        delta = piece_mean - mean
        total = count + len(values)
        mean = mean + delta * len(values) / total
        squares = squares + ((values - piece_mean) ** 2).sum(axis=0) + delta**2 * count * len(values) / total
        count = total
        minimum, maximum = min(minimum, float(values.min())), max(maximum, float(values.max()))
    return mean, np.sqrt(squares / count), minimum, maximum


def _pieces(dataset: Dataset) -> Iterator[np.ndarray]:
    """All values as (pixels, channels) in float64, a few megabytes at a time, however large an image is."""
    values_of_one = int(dataset.shapes.prod(axis=1).max())
    for x, _, _ in dataset.batches(max(1, min(_BATCH, _PIECE_VALUES // values_of_one))):
        pixels = x.reshape(-1, x.shape[-1])
        step = max(1, _PIECE_VALUES // x.shape[-1])
        for start in range(0, len(pixels), step):
            yield pixels[start : start + step].astype(np.float64)


def class_titles(classes: int, names: list[str] | None) -> list[str]:
    """A title for each class: its name, or its number."""
    return list(names) if names is not None else [str(index) for index in range(classes)]


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _counts(part: Dataset, classes: int) -> list[int]:
    counts: list[int] = class_counts(part.labels, classes).tolist()
    return counts


def _target_statistics(targets: np.ndarray) -> dict[str, float]:
    values = np.asarray(targets, dtype=np.float64)
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "minimum": float(values.min()),
        "maximum": float(values.max()),
    }


def _warnings(
    parts: dict[str, Dataset], balance: dict[str, list[int]], names: list[str] | None, std: np.ndarray
) -> Iterator[str]:
    if balance:
        yield from _balance_warnings(balance, names)
    if (std == 0).any():
        yield f"Channels {np.flatnonzero(std == 0).tolist()} are constant over the training part."
    for role in parts:
        if role != "train" and not parts[role].is_lazy and not parts["train"].is_lazy:
            repeated = repeated_examples(parts["train"], parts[role])
            if repeated:
                yield f"{repeated} examples of the {role} part equal a training example pixel by pixel."


def _balance_warnings(balance: dict[str, list[int]], names: list[str] | None) -> Iterator[str]:
    counts = np.array(balance["train"])
    small, large = int(counts.argmin()), int(counts.argmax())
    title = class_titles(len(counts), names)
    if counts[large] > _IMBALANCE * counts[small]:
        yield (
            f"Class {title[large]} has {counts[large]:,} training examples and {title[small]} has "
            f"{counts[small]:,}: accuracy alone will mislead. Consider class weights."
        )
    if counts[small] < _FEW:
        yield f"Class {title[small]} has only {counts[small]} training examples."
    for role, part in balance.items():
        if role != "train" and 0 in part:
            yield f"The {role} part has no example of class {title[part.index(0)]}."


def repeated_examples(train: Dataset, other: Dataset) -> int:
    """How many examples of `other` equal one of `train` byte by byte: such a test flatters."""
    known = set(_row_hashes(train))
    return sum(value in known for value in _row_hashes(other))


def _row_hashes(dataset: Dataset) -> Iterator[int]:
    step = max(1, min(_BATCH, _PIECE_VALUES // int(dataset.shapes.prod(axis=1).max())))
    for start in range(0, len(dataset), step):
        chunk = dataset.raw(slice(start, start + step))
        yield from (hash(row.tobytes()) for row in chunk)
