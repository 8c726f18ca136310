"""Whether weights still hold the numbers that something was made from.

PyTorch counts the writes into a tensor, but not those through `.data`. So a few numbers of each weight are
compared as well: whoever updates a whole tensor that way is noticed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

# Numbers of each weight that are compared.
COMPARED = 32


class Seen:
    """The state of some weights: places, versions, and a sample of their numbers.

    Args:
        weights: tensors of 32 bits each number, whose memory has no gaps.
    """

    def __init__(self, weights: Sequence[torch.Tensor]) -> None:
        self._state = _state(weights)
        self._views = [_sample(weight) for weight in weights]
        self._numbers = self._now()

    def is_still(self, weights: Sequence[torch.Tensor]) -> bool:
        """Whether these tensors are those, with the same numbers as far as can be told."""
        # NOTE: the views are looked into only if memory is where it was, so it is there.
        return self._state is not None and _state(weights) == self._state and self._is_same()

    def _is_same(self) -> bool:
        return bool((self._now() == self._numbers).all())

    def _now(self) -> np.ndarray:
        return np.concatenate(self._views) if self._views else np.zeros(0, np.int32)


def _state(weights: Sequence[torch.Tensor]) -> Any:
    """Places and versions; None where nobody counts versions."""
    try:
        return [(x.data_ptr(), x._version) for x in weights]
    except RuntimeError:  # a tensor of inference mode
        return None


def _sample(weight: torch.Tensor) -> np.ndarray:
    """A view of some numbers of a weight, bit by bit, the first and the last included."""
    count = weight.numel()
    if not count:
        return np.zeros(0, np.int32)
    memory = (ctypes.c_int32 * count).from_address(weight.data_ptr())
    numbers = np.frombuffer(memory, np.int32)
    return numbers[:: max(1, (count - 1) // (COMPARED - 1))]
