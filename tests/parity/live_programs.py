"""Programs as users write them against the living Keras on JAX, in float64: the same loss after ten steps.

Run by `make parity`; not collected by `make test`.
"""

from tests.parity.keras64 import keras  # isort: skip  (sets JAX to 64 bits, so it comes before it)
import numpy as np
import pytest

import kernelearn
from tests.parity.programs import every_program, losses
from tests.parity.programs.steps import LOOPS

PROGRAMS = every_program()


@pytest.fixture(autouse=True)
def _float64():
    kernelearn.utils.set_floatx("float64")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_trains_as_with_keras(name):
    one = PROGRAMS[name]
    expected = losses(one, keras)
    np.testing.assert_allclose(losses(one, kernelearn), expected, rtol=one.tolerance, atol=one.tolerance)


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_trains_as_with_keras(name):
    expected = LOOPS[name].theirs(keras)
    np.testing.assert_allclose(LOOPS[name].ours(kernelearn), expected, rtol=1e-9, atol=1e-9)
