"""Layers against the living Keras and PyTorch: random geometries per family, in float64.

Run by `make parity`, in an environment with keras, jax and torch; not collected by `make test`:

    python -m pytest tests/parity/live.py

Output, gradients of inputs and weights, and (Keras) the weights after one step of SGD. The number of
geometries per family is 200, or KERNELEARN_PARITY_CASES.
"""

import os
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from tests.parity import make_golden_layers as keras_side
from tests.parity import ours, torch_layers
from tests.parity.layer_cases import LayerCase

CASES_PER_FAMILY = int(os.environ.get("KERNELEARN_PARITY_CASES", "200"))
TOLERANCE = 1e-12


def _ints(random: np.random.RandomState, rank: int, high: int) -> list[int]:
    return [int(v) for v in random.randint(1, high + 1, size=rank)]


def _spatial(random: np.random.RandomState, rank: int) -> list[int]:
    return _ints(random, rank, {1: 12, 2: 8, 3: 5}[rank])


def _windows(random: np.random.RandomState, rank: int, paddings: tuple[str, ...]) -> dict:
    """kernel_size, strides, dilation_rate, padding; stride and dilation never both above 1, as in Keras."""
    strides, dilation = _ints(random, rank, 4), [1] * rank
    if random.rand() < 0.4:
        strides, dilation = [1] * rank, _ints(random, rank, 3)
    padding = paddings[random.randint(len(paddings))]
    return {
        "kernel_size": _ints(random, rank, 4),
        "strides": strides,
        "dilation_rate": dilation,
        "padding": padding,
    }


def _fits(sizes, arguments: dict, size: str = "kernel_size") -> bool:
    spans = [
        (k - 1) * d + 1 for k, d in zip(arguments[size], arguments.get("dilation_rate", [1] * len(sizes)))
    ]
    return arguments["padding"] != "valid" or all(s <= n for s, n in zip(spans, sizes))


def convolution(random: np.random.RandomState, rank: int) -> LayerCase:
    paddings = ("valid", "same", "causal") if rank == 1 else ("valid", "same")
    sizes, arguments = _spatial(random, rank), _windows(random, rank, paddings)
    while not _fits(sizes, arguments):
        sizes, arguments = _spatial(random, rank), _windows(random, rank, paddings)
    groups = int(random.randint(1, 4))
    more = {"groups": groups, "filters": groups * int(random.randint(1, 4))}
    return LayerCase(f"Conv{rank}D", {**arguments, **more}, ((*sizes, groups * int(random.randint(1, 4))),))


def transposed(random: np.random.RandomState) -> LayerCase:
    rank = int(random.randint(1, 4))
    arguments = {
        "filters": int(random.randint(1, 4)),
        "kernel_size": _ints(random, rank, 5 - (rank == 3)),
        "strides": _ints(random, rank, 4 - (rank == 3)),
        "padding": ("valid", "same")[random.randint(2)],
    }
    return LayerCase(
        f"Conv{rank}DTranspose", arguments, ((*_ints(random, rank, 5), int(random.randint(1, 4))),)
    )


def depthwise(random: np.random.RandomState) -> LayerCase:
    rank = int(random.randint(1, 3))
    sizes, arguments = _spatial(random, rank), _windows(random, rank, ("valid", "same"))
    # NOTE: Keras's backends take equal strides in every direction for depthwise and separable layers only.
    arguments["strides"] = arguments["strides"][:1] * rank
    while not _fits(sizes, arguments):
        sizes = _spatial(random, rank)
        arguments["kernel_size"] = _ints(random, rank, 4)
    kind = ("DepthwiseConv", "SeparableConv")[random.randint(2)]
    more = {"depth_multiplier": int(random.randint(1, 4))}
    if kind == "SeparableConv":
        more["filters"] = int(random.randint(1, 4))
    return LayerCase(f"{kind}{rank}D", {**arguments, **more}, ((*sizes, int(random.randint(1, 4))),))


def pooling(random: np.random.RandomState, kind: str) -> LayerCase:
    rank = int(random.randint(1, 4))
    arguments, sizes = {"pool_size": [99], "padding": "valid"}, [1]
    while not _fits(sizes, arguments, "pool_size"):
        sizes = _spatial(random, rank)
        padding = ("valid", "same")[random.randint(2)]
        arguments = {
            "pool_size": _ints(random, rank, 4),
            "strides": _ints(random, rank, 4),
            "padding": padding,
        }
    return LayerCase(f"{kind}Pooling{rank}D", arguments, ((*sizes, int(random.randint(1, 4))),))


FAMILIES: dict[str, Callable[[np.random.RandomState], LayerCase]] = {
    "convolution 1-D": lambda random: convolution(random, 1),
    "convolution 2-D": lambda random: convolution(random, 2),
    "convolution 3-D": lambda random: convolution(random, 3),
    "transposed": transposed,
    "depthwise and separable": depthwise,
    "max pooling": lambda random: pooling(random, "Max"),
    "average pooling": lambda random: pooling(random, "Average"),
}


def _difference(parts, expected) -> float:
    """Largest difference, relative to the largest number of each array."""
    assert [p.shape for p in parts] == [e.shape for e in expected]
    differences = [
        np.abs(p - e).max(initial=0) / (1 + np.abs(e).max(initial=0)) for p, e in zip(parts, expected)
    ]
    return float(max(differences))


@pytest.mark.parametrize("family", FAMILIES)
def test_random_geometries(family, capsys):
    random = np.random.RandomState(zlib.crc32(family.encode()))
    worst = {"Keras": 0.0, "PyTorch": 0.0}
    for _ in range(CASES_PER_FAMILY):
        case = FAMILIES[family](random)
        parts = ours.run_layer(case)
        peers = {"Keras": keras_side.run_layer(case), "PyTorch": torch_layers.run_layer(case)}
        for peer, expected in peers.items():
            difference = _difference(parts[: len(expected)], expected)
            assert difference < TOLERANCE, f"{case.label}: differs from {peer} by {difference:.1e}"
            worst[peer] = max(worst[peer], difference)
    summary = ", ".join(f"{peer} {value:.1e}" for peer, value in worst.items())
    with capsys.disabled():
        print(f"\n{family}: {CASES_PER_FAMILY} random geometries; largest relative difference from {summary}")
