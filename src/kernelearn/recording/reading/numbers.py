"""The numbers and the images of each step of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kernelearn.errors import unknown_name
from kernelearn.recording.reading.records import RunRecords, Trace, joined
from kernelearn.recording.schedule import Stream

_NOT_SCALARS = ("images", "labels", "has_labels")


class Batch(NamedTuple):
    """What a step was trained on.

    images: (n,) int64, row numbers in the data that `fit` was given; for a stream, which has no rows, numbers
        in the order in which images came.
    labels: (n,) int64 class numbers, or None for other targets.
    """

    images: np.ndarray
    labels: np.ndarray | None


class RecordedNumbers(RunRecords):
    """Loss, metrics and images of the steps of a run; see `Run`."""

    @property
    def scalar_names(self) -> list[str]:
        """What `scalars` knows."""
        names = [n for n in self.fields(Stream.STEPS) if n not in _NOT_SCALARS]
        found = {name: None for e in self._events if e["kind"] == "epoch" for name in e.get("logs", {})}
        return [*names, *[name for name in found if name.startswith("val_")]]

    def scalars(self, name: str) -> Trace:
        """(steps, values), one for each update.

        Args:
            name: "loss" (of the batch alone), "learning_rate", "epoch", "batch", a metric (its mean over the
                epoch so far), or a validation value such as "val_loss" (one an epoch).
        """
        if name not in self.scalar_names:
            raise unknown_name("recorded number", name, self.scalar_names)
        if name.startswith("val_"):
            return joined([self._validation(name)])
        parts = []
        for segment in self._having(Stream.STEPS, name):
            steps, values = self._column(segment, Stream.STEPS, name, ())
            trained = segment.streams[Stream.STEPS].rows[segment.numbers(Stream.STEPS)] > 0
            kept = np.isin(steps, segment.steps(Stream.STEPS)[trained])
            parts.append((steps[kept], values[kept]))
        return joined(parts)

    def _validation(self, name: str) -> Trace:
        found = [e for e in self._events if e["kind"] == "epoch" and e["logs"].get(name) is not None]
        return np.array([e["step"] for e in found], np.int64), np.array([e["logs"][name] for e in found])

    def batch(self, step: int) -> Batch:
        """Which images an update was computed from, and their classes."""
        images = self.read(Stream.STEPS, "images", step)
        has_labels = "has_labels" in self.fields(Stream.STEPS) and bool(
            self.read(Stream.STEPS, "has_labels", step)
        )
        return Batch(images, self.read(Stream.STEPS, "labels", step) if has_labels else None)

    def steps_of_image(self, image: int) -> np.ndarray:
        """(steps,) int64: the updates that an image took part in."""
        found = [step for step, images in self.batches() if (images == image).any()]
        return np.array(found, np.int64)

    def batches(self, behind: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """(step, images) of every update in order, `images` as in `batch`.

        Args:
            behind: leave out the steps up to this one.
        """
        for segment in self._having(Stream.STEPS, "images"):
            numbers, reader = self._whole(segment, Stream.STEPS), segment.streams[Stream.STEPS]
            numbers = numbers[(reader.steps[numbers] > behind) & (reader.rows[numbers] > 0)]
            images = reader.column("images", (), numbers)
            rows = reader.rows[numbers].tolist()
            yield from ((step, images[i, : rows[i]]) for i, step in enumerate(reader.steps[numbers].tolist()))
