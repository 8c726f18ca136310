"""Variables: they own their array, keep shape and dtype, and count their changes."""

import copy
import pickle

import numpy as np
import pytest

from kernelearn.engine.variable import Variable
from kernelearn.errors import ShapeError


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_shape_is_kept_and_the_array_is_its_own(shape):
    array = np.ones(shape)
    variable = Variable(array, "kernel")
    variable.write_in_place(np.zeros(shape))
    assert variable.shape == shape and variable.version == 1
    assert (array == 1).all() and (variable.value == 0).all()


def test_numpy_is_a_copy():
    variable = Variable(np.zeros(3), "bias")
    variable.numpy()[:] = 5
    np.asarray(variable)[:] = 5
    assert (variable.value == 0).all()


def test_assign_checks_the_shape_and_keeps_the_dtype():
    variable = Variable(np.zeros((2, 3), "float32"), "kernel")
    variable.assign(np.ones((2, 3)))
    assert variable.dtype == "float32" and (variable.value == 1).all()
    with pytest.raises(ShapeError, match=r"'kernel' has shape \(2, 3\); got an array of shape \(3,\)"):
        variable.assign(np.ones(3))


def test_memory_stays_in_place():
    variable = Variable(np.zeros(2), "kernel")
    memory = variable.memory
    variable.assign([1, 2])
    variable.write_in_place(variable.value + 1)
    assert variable.memory is memory and memory.tolist() == [2, 3]


def test_what_is_read_cannot_be_written_behind_the_back_of_who_keeps_what_follows_from_it():
    """Packed weights are made anew when `version` has changed, which a write into `value` would not tell."""
    variable = Variable(np.zeros(2), "kernel")
    for read in (variable, copy.deepcopy(variable), pickle.loads(pickle.dumps(variable))):
        with pytest.raises(ValueError, match="read-only"):
            read.value[...] = 1
        with pytest.raises(ValueError, match="read-only"):
            np.add(read.value, 1, out=read.value)
        read.assign([3, 4])
        assert read.value.tolist() == [3, 4]
    assert variable.memory.flags.writeable
