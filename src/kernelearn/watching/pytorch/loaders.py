"""A loader that knows which images it gives: the numbers of the batch that is being trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.watching.seen import Array


class NumberedLoader:
    """Gives the batches of a `torch.utils.data.DataLoader` and remembers the numbers of their images.

    Args:
        loader: a DataLoader over data that has numbers (a map-style data set), with batches.
    Attributes:
        images: (n,) int64 numbers of the batch that was given last; None before the first.
        epoch: passes through the data that have begun, from 0; -1 before the first.
    Raises: ArgumentError for data without numbers.

    It draws from the loader's own sampler, so that order and shuffling are the same as without it.
    """

    def __init__(self, loader: Any) -> None:
        sampler = getattr(loader, "batch_sampler", None)
        if sampler is None or not hasattr(loader.dataset, "__getitem__"):
            raise ArgumentError(
                "NumberedLoader needs a DataLoader of data with numbers, and batches: its data set is "
                f"{type(loader.dataset).__name__} without a batch sampler. Leave it out: images are then "
                "numbered in the order in which they come."
            )
        self.loader, self.epoch = loader, -1
        self.images: Array | None = None

    def __len__(self) -> int:
        return len(self.loader)

    @property
    def dataset(self) -> Any:
        """Of the loader."""
        return self.loader.dataset

    def __iter__(self) -> Iterator[Any]:
        self.epoch += 1
        drawn: list[Array] = []
        for number, batch in enumerate(self._numbered(drawn)):
            self.images = drawn[number]
            yield batch
        self.images = None

    def _numbered(self, drawn: list[Array]) -> Any:
        """A loader like the given one whose sampler notes what it draws: workers draw ahead, in order."""
        from torch.utils.data import DataLoader

        given = self.loader

        class Noting:
            def __len__(self) -> int:
                return len(given.batch_sampler)

            def __iter__(self) -> Iterator[Any]:
                for numbers in given.batch_sampler:
                    drawn.append(np.asarray(list(numbers), np.int64))
                    yield numbers

        names = ("prefetch_factor", "multiprocessing_context") if given.num_workers else ()
        return DataLoader(
            given.dataset,
            batch_sampler=Noting(),  # type: ignore[arg-type]
            num_workers=given.num_workers,
            collate_fn=given.collate_fn,
            pin_memory=given.pin_memory,
            timeout=given.timeout,
            worker_init_fn=given.worker_init_fn,
            generator=given.generator,
            **{name: getattr(given, name) for name in names},
        )
