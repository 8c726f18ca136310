"""Whether weights still hold the numbers that something was made from.

PyTorch counts the writes into a tensor, but not those through `.data`. So a few numbers of each weight are
compared as well: whoever updates a whole tensor that way is noticed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import torch

from kernelearn.engine.cpu.machine import glances

# Numbers of each weight that are compared.
COMPARED = 32


class Seen:
    """The state of some weights: places, versions, and a sample of their numbers.

    Args:
        weights: tensors of 32 bits each number, whose memory has no gaps.
        places: their addresses.
    """

    def __init__(self, weights: Sequence[torch.Tensor], places: Sequence[int]) -> None:
        self._is_same = glances.is_same()
        self._places, self._versions = places, _versions(weights)
        samples = [_sample(weight) for weight in weights]
        self._addresses = np.concatenate([np.zeros(0, np.int64), *(a for a, _ in samples)])
        self._numbers = np.concatenate([np.zeros(0, np.int32), *(n for _, n in samples)])
        self._asked = self._addresses.ctypes.data, self._numbers.ctypes.data, len(self._numbers)

    def is_still(self, weights: Sequence[torch.Tensor], places: Sequence[int]) -> bool:
        """Whether these tensors are those, with the same numbers as far as can be told."""
        if self._versions is None or places != self._places or _versions(weights) != self._versions:
            return False
        # NOTE: memory is looked into only if it is where it was, so it is there.
        return bool(self._is_same(*self._asked))


def _versions(weights: Sequence[torch.Tensor]) -> list[int] | None:
    """None where nobody counts versions."""
    try:
        return [x._version for x in weights]
    except RuntimeError:  # a tensor of inference mode
        return None


def _sample(weight: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Addresses of some numbers of a weight, the first and the last included, and these, bit by bit."""
    count = weight.numel()
    if not count:
        return np.zeros(0, np.int64), np.zeros(0, np.int32)
    memory = (ctypes.c_int32 * count).from_address(weight.data_ptr())
    step = max(1, (count - 1) // (COMPARED - 1))
    numbers = np.frombuffer(memory, np.int32)[::step].copy()
    return weight.data_ptr() + 4 * step * np.arange(len(numbers), dtype=np.int64), numbers
