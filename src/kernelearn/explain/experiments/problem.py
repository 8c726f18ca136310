"""The data of an experiment, and what each seed draws from it: the same images for every condition."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.data import Data, Dataset, load
from kernelearn.errors import ArgumentError, DataError

_LEAST_TEST = 2


@dataclass(frozen=True)
class Draw:
    """The images of one seed.

    Attributes:
        seed: of the draw, the first weights and the order of the images.
        x, y: (n, h, w, c) images to train on and their (n,) class numbers.
        x_test, y_test: to test on; no image of x is among them.
        classes: number of outputs.
        other_x, other_y: further images, neither trained on nor tested on, for networks that others learn
            from; None where the experiment has no use for them.
        other_classes: number of classes of these.
    """

    seed: int
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    other_x: np.ndarray | None = None
    other_y: np.ndarray | None = None
    other_classes: int = 0

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(height, width, channels)."""
        return self.x.shape[1:]

    @property
    def chance(self) -> float:
        """Share of the most frequent class among the test images."""
        return float(np.bincount(self.y_test).max() / len(self.y_test))


@dataclass(frozen=True)
class Problem:
    """Labelled images.

    Attributes:
        name: of the source.
        train: where training images come from; `test`: a test part that the source brings, or None. Without
            one every seed sets other images aside.
        classes: number of classes.
    """

    name: str
    train: Dataset
    test: Dataset | None
    classes: int

    @classmethod
    def from_source(cls, source: Any, **options: Any) -> "Problem":
        """The problem that anything `kernelearn.data.load` reads poses; a Problem is given back.

        Args:
            options: of `load`, such as resize or channels.
        Raises: DataError for data without classes, or that is not in reach by number.
        """
        if isinstance(source, Problem):
            return source
        whole = source if isinstance(source, Data) else load(source, test=False, **options)
        if None in whole.input_shape:
            raise DataError(
                f"An experiment needs images of one size; {whole.name!r} has {whole.input_shape}. Give "
                "resize=32."
            )
        if not isinstance(whole.train, Dataset) or whole.classes < 2 or len(whole.input_shape) != 3:
            raise DataError(
                "An experiment needs images of at least two classes that can be reached by number; "
                f"{whole.name!r} has {whole.classes} classes."
            )
        parts = whole if isinstance(source, Data) else load(source, **options)
        # Without a test part of its own, `load` has taken one out of the training part.
        is_own = len(parts.train) == len(whole.train) if isinstance(parts.train, Dataset) else False
        test = parts.test if is_own and isinstance(parts.test, Dataset) else None
        return cls(whole.name, whole.train, test, whole.classes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(height, width, channels)."""
        return tuple(self.train.x_shape)

    def rows(self, seed: int, test_images: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows of the training images, rows of the test images) in the order this seed draws them."""
        generator = np.random.default_rng([seed, 1])
        pool = generator.permutation(len(self.train))
        if self.test is not None:
            return pool, generator.permutation(len(self.test))[:test_images]
        held_out = min(test_images, len(pool) // 5)
        if held_out < _LEAST_TEST:
            raise DataError(
                f"{self.name!r} has {len(pool)} images; an experiment needs at least {5 * _LEAST_TEST}."
            )
        return pool[held_out:], pool[:held_out]

    def draw(self, seed: int, images: int, test_images: int, with_others: bool = False) -> Draw:
        """Images for one seed.

        Args:
            images: to train on; fewer if there are not so many, or half of all if others are wanted too.
            with_others: draw as many further images.
        """
        pool, test = self.rows(seed, test_images)
        count = min(images, len(pool) // 2 if with_others else len(pool))
        x, y = self.train.subset(pool[:count]).arrays()
        x_test, y_test = self.test_part.subset(test).arrays()
        if not with_others:
            return Draw(seed, x, y, x_test, y_test, self.classes)
        others = self.train.subset(pool[count : 2 * count]).arrays()
        return Draw(seed, x, y, x_test, y_test, self.classes, *others, self.classes)

    @property
    def test_part(self) -> Dataset:
        """Where test images come from."""
        return self.train if self.test is None else self.test


def check_counts(**counts: Any) -> None:
    """Raise ArgumentError for anything but whole numbers from 1 on."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ArgumentError(f"{name} must be a whole number of at least 1, got {value!r}.")
