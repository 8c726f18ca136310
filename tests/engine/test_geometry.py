"""Geometry: values everyone knows, messages, the examples of the docstrings. Random: tests/properties."""

import doctest

import pytest

from kernelearn.engine import geometry
from kernelearn.errors import ArgumentError, ShapeError


@pytest.mark.parametrize(
    ("name", "size", "kernel", "stride", "dilation", "expected"),
    [
        ("same", 28, 3, 1, 1, (1, 1)),
        ("same", 28, 2, 1, 1, (0, 1)),
        ("same", 224, 7, 2, 1, (2, 3)),
        ("same", 224, 3, 2, 1, (0, 1)),
        ("same", 5, 1, 3, 1, (0, 0)),
        ("same", 10, 3, 1, 2, (2, 2)),
        ("valid", 10, 3, 1, 2, (0, 0)),
        ("causal", 10, 3, 1, 2, (4, 0)),
    ],
)
def test_named_paddings(name, size, kernel, stride, dilation, expected):
    assert geometry.resolve_padding(name, size, kernel, stride, dilation) == expected


def test_unknown_paddings_are_refused():
    with pytest.raises(ArgumentError, match="padding must be one of"):
        geometry.resolve_padding("full", 10, 3)
    with pytest.raises(ArgumentError, match="'valid' or 'same'"):
        geometry.transpose_padding("causal", 3, 1, 1, None)


def test_a_window_that_does_not_fit_is_named():
    with pytest.raises(
        ShapeError, match=r"A pool spanning \(3, 5\) pixels does not fit into an input of \(4, 4\)"
    ):
        geometry.output_sizes((4, 4), (3, 3), (1, 1), (1, 2), ((0, 0), (0, 0)), "pool")


def test_receptive_field_of_vgg():
    """Five blocks of two or, in the deeper ones, three 3x3 convolutions and a 2x2 pool."""
    block, deep = [(3, 1, 1)] * 2 + [(2, 2, 1)], [(3, 1, 1)] * 3 + [(2, 2, 1)]
    assert geometry.receptive_field(2 * block + 3 * deep) == (212, 32)


def test_examples():
    results = doctest.testmod(geometry)
    assert results.attempted >= 7 and results.failed == 0
