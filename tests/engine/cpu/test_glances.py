"""Looks at memory before a program runs, against NumPy."""

import numpy as np
import pytest

from kernelearn.engine.cpu.machine import glances


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_numbers_at_addresses_are_compared(count):
    rng = np.random.default_rng(count)
    memory = rng.integers(-(2**31), 2**31, 3 * count + 1).astype(np.int32)
    chosen = rng.permutation(len(memory))[:count]
    places, numbers = memory.ctypes.data + 4 * chosen.astype(np.int64), memory[chosen].copy()

    def found():
        return bool(glances.is_same()(places.ctypes.data, numbers.ctypes.data, count))

    assert found()
    for number in {0, count // 2, count - 1} if count else ():
        memory[chosen[number]] ^= 1 << int(rng.integers(31))
        assert not found()
        memory[chosen[number]] = numbers[number]
    assert found()


@pytest.mark.parametrize("count", [0, 1, 33])
def test_classes_are_from_0_to_below_their_number(count):
    labels = np.random.default_rng(count).integers(0, 10, count)

    def found():
        return bool(glances.are_below()(labels.ctypes.data, 10, count))

    assert found()
    for wrong in (-1, 10, -(2**63), 2**63 - 1):
        for place in {0, count - 1} if count else ():
            kept, labels[place] = labels[place], wrong
            assert not found()
            labels[place] = kept
