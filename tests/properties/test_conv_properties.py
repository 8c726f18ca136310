"""Convolution, its gradients, its transpose and pooling on random geometries, through all of `check_op`."""

import numpy as np
import pytest
from hypothesis import given, settings

from kernelearn.engine.operators import OPERATORS
from tests.engine import cases
from tests.engine.helpers import check_op
from tests.properties.strategies import geometries, pools

pytestmark = pytest.mark.properties


# Geometries that are drawn at each change, and in the slow sweeps.
QUICK, MANY = settings(max_examples=20), settings(max_examples=120)


def check_all(drawn):
    for case in drawn:
        check_op(case)


@QUICK
@given(geometries())
def test_convolution(g):
    check_all(cases.convolutions(g))


@QUICK
@given(pools())
def test_pooling(g):
    check_all(cases.poolings(g))


@pytest.mark.slow
@MANY
@given(geometries())
def test_convolution_of_many_geometries(g):
    check_all(cases.convolutions(g))


@pytest.mark.slow
@MANY
@given(pools())
def test_pooling_of_many_geometries(g):
    check_all(cases.poolings(g))


@settings(max_examples=40)
@given(geometries())
def test_conv_is_linear_in_the_kernel_too(g):
    conv, *_ = cases.convolutions(g)
    x, kernel = conv.inputs
    other = np.random.default_rng(3).normal(size=kernel.shape)
    apply = OPERATORS["conv"].run
    together = apply(x, 2 * kernel - other, **g.attrs)
    apart = 2 * apply(x, kernel, **g.attrs) - apply(x, other, **g.attrs)
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-13 * (1 + np.abs(apart).max()))
