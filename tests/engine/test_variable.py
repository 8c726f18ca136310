"""Variables: they own their array, keep shape and dtype, and count their changes."""

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


def test_a_home_is_asked_for_the_current_value():
    class Home:
        def pull(self, variable):
            return np.full(variable.shape, 7.0)

    variable = Variable(np.zeros(2), "kernel")
    variable.home = Home()
    np.testing.assert_array_equal(variable.value, [7, 7])
    variable.assign([1, 2])
    np.testing.assert_array_equal(variable.value, [1, 2])
