"""The examples in the docstrings of layers run as they stand."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "activations",
        "dense",
        "images.preprocessing",
        "images.augmentation",
        "einsum_dense",
        "attention.plain",
        "attention.multi_head",
    ],
)
def test_examples(module):
    results = doctest.testmod(importlib.import_module(f"kernelearn.layers.{module}"))
    assert results.attempted > 0 and results.failed == 0
