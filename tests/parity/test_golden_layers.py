"""Layers against Keras by golden_layers.npz: outputs, gradients, an SGD step; random ones for given draws."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.parity.layer_cases import CASES, WARPS
from tests.parity.ours import run_layer, run_warp

GOLDEN = np.load(Path(__file__).with_name("golden_layers.npz"))
META = json.loads(str(GOLDEN["meta"]))
# Keras makes the matrices of these in float32, whatever float type is asked for.
IN_FLOAT32 = ("RandomTranslation", "RandomZoom")


def _tolerance(layer: str) -> float:
    return 1e-6 if layer in IN_FLOAT32 else 1e-13


def test_the_file_was_made_for_these_cases():
    assert [META["layers"], META["warps"]] == [[c.label for c in CASES], [c.label for c in WARPS]]


@pytest.mark.parametrize("number", range(len(CASES)), ids=[c.label for c in CASES])
def test_layer(number):
    case, parts = CASES[number], run_layer(CASES[number])
    expected = [
        GOLDEN[f"layer{number}_{i}"]
        for i in range(sum(k.startswith(f"layer{number}_") for k in GOLDEN.files))
    ]
    assert [p.shape for p in parts] == [e.shape for e in expected]
    for part, wanted in zip(parts, expected):
        tolerance = _tolerance(case.layer)
        np.testing.assert_allclose(part, wanted, rtol=tolerance, atol=tolerance * (1 + np.abs(wanted).max()))


@pytest.mark.parametrize("number", range(len(WARPS)), ids=[c.label for c in WARPS])
def test_random_layer(number):
    tolerance = _tolerance(WARPS[number].layer)
    np.testing.assert_allclose(
        run_warp(WARPS[number]), GOLDEN[f"warp{number}"], rtol=tolerance, atol=tolerance
    )
