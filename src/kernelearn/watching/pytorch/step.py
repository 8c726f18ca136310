"""What is known so far of the step of PyTorch that is being computed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.watching.pytorch.calling import Example
from kernelearn.watching.pytorch.graph import Pass
from kernelearn.watching.seen import Array, SeenStep


@dataclass
class Step:
    """What is known so far of the step that is being computed.

    raw: id of a parameter -> it, and its gradient as the backward passes left it.
    """

    passes: list[Pass] = field(default_factory=list)
    raw: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    losses: list[Any] = field(default_factory=list)
    labels: list[Array] = field(default_factory=list)
    images: list[Array] = field(default_factory=list)
    rows: int = 0
    unmatched: int = 0  # passes through the module's own call since the last `see_pass`
    example: Example | None = None  # what the module was called with, while the model is to be read
    seen: SeenStep | None = None

    def complete(self, seen: SeenStep, epoch: int) -> SeenStep:
        """Add loss, classes and numbers of the images, where they are known of all images."""
        losses = [float(loss) for loss in self.losses]
        seen.epoch, seen.loss = max(epoch, 0), sum(losses) / len(losses) if losses else math.nan
        images, labels = _joined(self.images), _joined(self.labels)
        seen.images = images if images is not None and len(images) == seen.rows else None
        seen.labels = labels if labels is not None and len(labels) == seen.rows else None
        return seen

    def passes_that_came_back(self) -> list[Pass]:
        """Those that have a part in the gradient: others were done to look at their outputs, or failed."""
        if not all(found.came_back for found in self.passes):
            if len(self.images) == len(self.passes):
                self.images = [i for i, found in zip(self.images, self.passes) if found.came_back]
            for found in self.passes:
                if not found.came_back:
                    found.release()
            self.passes = [found for found in self.passes if found.came_back]
            self.rows = sum(found.rows for found in self.passes)
        return self.passes

    def was_dropped(self) -> bool:
        """Whether its gradients were thrown away again: its update never came.

        A scaler skipped it, or they came from the loss of another module, as a generator's do to its critic.
        """
        uses = [use for found in self.passes for use in found.uses]
        has_been_back = any(use.delta is not None for use in uses)
        return has_been_back and all(_is_zero(use.weight.grad) for use in uses[:4])

    def has_overflowed(self) -> bool:
        """Whether gradients came that are not finite: a scaler skips those."""
        return any(not bool(gradient.isfinite().all()) for _, gradient in self.raw.values())


def _is_zero(gradient: Any) -> bool:
    return gradient is None or not bool(gradient.any())


def tensors_in(values: Any) -> Iterator[Any]:
    """The tensors in nested arguments or results."""
    if hasattr(values, "grad_fn"):
        yield values
    elif isinstance(values, Mapping | list | tuple):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from tensors_in(value)


def _joined(parts: list[Array]) -> Array | None:
    return np.concatenate(parts).astype(np.int64) if parts else None
