"""`Data`: the training, validation and test part of one source, and what all three share."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kernelearn import _notebook
from kernelearn.data.dataset import Dataset
from kernelearn.data.describe import Description, describe
from kernelearn.data.fingerprint import joined
from kernelearn.data.order import sample_order
from kernelearn.data.ragged import agreed
from kernelearn.data.stream import StreamDataset
from kernelearn.errors import ArgumentError, DataError

AnyDataset = Dataset | StreamDataset


@dataclass
class Data:
    """What `load` gives.

    Attributes:
        name: short name of the source.
        train: what to train on.
        validation, test: held-out parts, or None.
        classes: number of classes; 0 for real-valued targets, and for a stream whose classes are unknown.
        class_names: name of each class, or None where the source has no names.
        warnings: what was noticed while loading.
    """

    name: str
    train: AnyDataset
    validation: AnyDataset | None = None
    test: AnyDataset | None = None
    classes: int = 0
    class_names: list[str] | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def input_shape(self) -> tuple[Any, Any, int]:
        """(height, width, channels) of one image; None for a size in which images of any part differ."""
        parts = [part for part in (self.test, self.validation) if isinstance(part, Dataset)]
        height, width, channels = agreed([part.x_shape for part in (self.train, *parts)])
        assert channels is not None
        return height, width, channels

    def padded(self, multiple_of: int | None = 1, by_size: bool = False) -> "Data":
        """The same data with every part padded in batches: see `Dataset.padded`. Streams stay as they are."""
        padded: dict[str, Any] = {
            role: part.padded(multiple_of, by_size)
            for role, part in self.parts().items()
            if isinstance(part, Dataset)
        }
        return replace(self, **padded)

    @property
    def fingerprint(self) -> str:
        """Digest of all parts: equal only if a run would see the same examples in the same parts.

        Every byte counts, see `Dataset.fingerprint`; "stream" where a part is one.
        """
        parts = ((role, part.fingerprint) for role, part in self.parts().items())
        return joined(parts, self.class_names or ())

    def parts(self) -> dict[str, AnyDataset]:
        """The parts there are, by role: "train", "validation", "test"."""
        roles = {"train": self.train, "validation": self.validation, "test": self.test}
        return {role: part for role, part in roles.items() if part is not None}

    def describe(self) -> Description:
        """Counts, class balance, per-channel mean and standard deviation, and warnings."""
        return describe(self)

    def sample(self, per_class: int = 8, seed: int = 0) -> tuple[Any, np.ndarray]:
        """Some training images to look at.

        Args:
            per_class: how many of each class, or fewer if it has fewer; in all, for real-valued targets.
            seed: which ones.
        Returns: x (k, h, w, c) as batches give it, or a list of images of several sizes, and y (k,), sorted
            by class.
        Raises: DataError for a stream.
        """
        if not isinstance(self.train, Dataset):
            raise DataError(
                "A stream cannot be sampled without reading it. Take a batch: next(data.train.batches())."
            )
        if per_class < 1:
            raise ArgumentError(f"per_class must be at least 1, got {per_class}.")
        order = sample_order(len(self.train), seed)
        if self.classes:
            of_class = [order[self.train.labels[order] == label][:per_class] for label in range(self.classes)]
            order = np.concatenate(of_class)
        return self.train.subset(order if self.classes else order[:per_class]).arrays()

    def __repr__(self) -> str:
        counts = ", ".join(f"{part.size} {role}" for role, part in self.parts().items())
        kind = f"{self.classes} classes" if self.classes else "no classes"
        return f"<Data {self.name}: {counts}; {self._shape_text()}, {kind}>"

    def _repr_html_(self) -> str:
        rows = [[role, _count_text(part), part.fingerprint[:8]] for role, part in self.parts().items()]
        names = [f"Classes: {', '.join(map(str, self.class_names))}"] if self.class_names else []
        kind = f"{self.classes} classes" if self.classes else "no classes"
        title = f"Data {self.name}: {self._shape_text()}, {kind}"
        return _notebook.table(title, ["part", "examples", "fingerprint"], rows, [*names, *self.warnings])

    def _shape_text(self) -> str:
        # NOTE: the shape of a stream is known only once it is read, which a repr must not do.
        return str(self.input_shape).replace("None", "any") if isinstance(self.train, Dataset) else "stream"


def _count_text(part: AnyDataset) -> str:
    return "unknown" if part.size is None else f"{part.size:,}"
