"""Class numbers and places among the inputs of a program: whether its kernels take them as PyTorch does.

Kernels answer numbers that are no classes or places with NaN, and a batch without any label that counts with
a loss of 0; PyTorch raises an error, or gives NaN, or counts places below zero from the end. Such batches are
rare, so PyTorch itself computes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from kernelearn.engine.arrays import known
from kernelearn.engine.cpu.cut import CutStep
from kernelearn.engine.cpu.machine import glances


class Labels:
    """What is looked at before a program runs.

    Args:
        positions: name of an input of the program -> its number among what is given.
        uncounted: name of class numbers that become rows of ones and zeros -> the number of those that do not
            count.
    """

    def __init__(
        self, step: CutStep, positions: Mapping[str, int], uncounted: Mapping[str, int] | None = None
    ) -> None:
        buffers = step.program.buffers
        self._checks = list(step.plan.checks)
        self._positions = {
            name: position
            for name, position in positions.items()
            if self._checks and name in buffers and buffers[name].dtype.startswith("int")
        }
        losses = [op for op in step.program.operations if op.operator == "loss"]
        ignored = [(step.plan.root(op.inputs[1]), op.attrs.get("ignore_class")) for op in losses]
        self._ignored = [(name, number) for name, number in ignored if name in self._positions]
        # Where labels are all that is looked at: their positions, and numbers of classes.
        self._classes = [
            (self._positions[name], known(buffers[op.inputs[0]].shape[-1]))
            for op, (name, _) in zip(losses, ignored)
            if name in self._positions
        ]
        # A class that is ignored is looked for in all of them.
        is_any_ignored = any(
            number is not None and 0 <= number < classes
            for (_, number), (_, classes) in zip(self._ignored, self._classes)
        )
        self._are_labels_all = len(self._classes) == len(self._checks) and not is_any_ignored
        # Numbers by which entries of an axis are chosen, the same for all images, and the size of that axis.
        chosen = [op for op in step.program.operations if op.operator == "gather"]
        self._choosing = [
            (positions[root], known(buffers[op.inputs[0]].shape[op.attrs["axis"]]))
            for op, root in ((op, step.plan.root(op.inputs[1])) for op in chosen)
            if root in positions
        ]

        # Class numbers that become rows: their position, the number of classes, and what does not count.
        rows = [(step.plan.root(op.inputs[0]), op) for op in step.program.operations if op.inputs]
        self._rows = [
            (positions[root], op.attrs["depth"], (uncounted or {}).get(root))
            for root, op in rows
            if op.operator == "one_hot" and root in positions
        ]

    def are_usual(self, inputs: Sequence[Any]) -> bool:
        """Whether a program may compute with them."""
        if not all(_are_classes(inputs[position], *limits) for position, *limits in self._rows):
            return False
        if self._choosing and not _are_below(self._choosing, inputs):
            return False
        if not self._checks or (self._are_labels_all and _are_below(self._classes, inputs)):
            return True
        arrays = {name: inputs[position].numpy() for name, position in self._positions.items()}
        try:
            for check in self._checks:
                check(arrays)
        except ValueError:
            return False
        return not any((arrays[name] == number).all() for name, number in self._ignored)


def _are_below(limits: Sequence[tuple[int, int]], inputs: Sequence[Any]) -> bool:
    """Whether all numbers of some inputs are from 0 to below a limit: in most batches, and soon said.

    Of labels that means that none is left out.
    """
    for position, limit in limits:
        x = inputs[position]
        if x.dtype is torch.int64 and x.is_contiguous():
            if not glances.are_below()(x.data_ptr(), limit, x.numel()):
                return False
            continue
        low, high = torch.aminmax(x)
        if int(low) < 0 or int(high) >= limit:
            return False
    return True


def _are_classes(numbers: torch.Tensor, classes: int, uncounted: int | None) -> bool:
    """Whether all numbers are classes, or do not count; and not all do not."""
    is_class = (numbers >= 0) & (numbers < classes)
    if uncounted is None:
        return bool(is_class.all())
    is_ignored = numbers == uncounted
    return bool((is_class | is_ignored).all() and not is_ignored.all())
