"""`BatchNorm(momentum=None)` inside of whole steps: averages over all batches so far.

PyTorch reads the counter of batches as a number there, where Dynamo ends a graph. In one program such
a layer writes the statistics of the batch alone, as with momentum 1, and behind it they are joined with the
average of before: average + (batch - average) / count, as PyTorch has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from kernelearn.torch.inside import BatchNorm


class Cumulative:
    """The layers of a model that average over all batches."""

    def __init__(self, model: nn.Module) -> None:
        self._layers = [
            layer for layer in model.modules() if isinstance(layer, BatchNorm) and layer.momentum is None
        ]

    def __bool__(self) -> bool:
        return bool(self._layers)

    @contextmanager
    def as_numbers(self) -> Iterator[None]:
        """While it lasts, a forward pass in training has no number to read; each layer is used once in it."""
        layers = [layer for layer in self._layers if layer.training and layer.running_mean is not None]
        before = [(int(layer.num_batches_tracked), _averages(layer)) for layer in layers]
        for layer in layers:
            layer.momentum = 1.0
        try:
            yield
        finally:
            for layer, (count, averages) in zip(layers, before):
                layer.momentum = None
                if int(layer.num_batches_tracked) > count:
                    _join(layer, averages)


def _averages(layer: nn.Module) -> list[torch.Tensor]:
    """Copies of a layer's averages."""
    return [layer.running_mean.clone(), layer.running_var.clone()]  # type: ignore[operator, union-attr]


def _join(layer: nn.Module, averages: list[torch.Tensor]) -> None:
    """The statistics of a batch are joined with the averages of those before."""
    with torch.no_grad():
        for now, old in zip((layer.running_mean, layer.running_var), averages):
            now.copy_(old + (now - old) / layer.num_batches_tracked)  # type: ignore[operator, union-attr]
