"""Gradients of random functions of 3 to 12 operations against Keras on PyTorch, in float64.

Run by `make parity` in a process of its own; not collected by `make test`. Their number is 10,000, or
KERNELEARN_PARITY_COMPOSITIONS. Each is computed by the reference and by the CPU engine. A failure prints the
function and its seed. PyTorch, since JAX compiles each of these functions anew, which takes a second.
"""

import os

os.environ["KERAS_BACKEND"] = "torch"
from tests.parity.keras64 import keras  # isort: skip  (float64 throughout)
import numpy as np
import pytest
import torch

from kernelearn import ops
from tests.parity import own_gradients
from tests.parity.compositions import Composition, compose, missing

COUNT = int(os.environ.get("KERNELEARN_PARITY_COMPOSITIONS", "10000"))
# Compositions of one test, so that a failing one names few.
TOGETHER = 50
TOLERANCE = 1e-9
# What Keras on PyTorch rounds to float32 on the way.
ROUGH, ROUGH_TOLERANCE = {"segment_sum", "hard_sigmoid", "hard_silu"}, 1e-5


def tolerance(made: Composition) -> float:
    """The largest difference allowed; see `difference`."""
    return ROUGH_TOLERANCE if made.names & ROUGH else TOLERANCE


def theirs(made: Composition) -> own_gradients.Answer:
    """Value and gradients by Keras on PyTorch."""
    given = [torch.tensor(x, requires_grad=True) for x in made.inputs]
    value = made.function(keras.ops, torch.tensor)(*given)
    grads = torch.autograd.grad(value, given, allow_unused=True)
    found = [np.zeros(x.shape) if g is None else g.detach().numpy() for x, g in zip(given, grads)]
    return float(value.detach()), found


def difference(found: own_gradients.Answer, expected: own_gradients.Answer) -> float:
    """The largest difference, relative to the largest number of its array (at least 1)."""
    pairs = [(np.array(found[0]), np.array(expected[0])), *zip(found[1], expected[1])]
    return max(
        (float(np.max(np.abs(a - b)) / max(1, np.abs(b).max())) for a, b in pairs if b.size), default=0
    )


@pytest.mark.parametrize("first", range(0, COUNT, TOGETHER))
def test_gradients_are_those_of_keras(first):
    wrong = []
    for seed in range(first, first + TOGETHER):
        made = compose(seed, ops)
        expected = theirs(made)
        graph = own_gradients.program_of(made.function(ops), made.inputs, made.batched)
        for engine in ("reference", "cpu"):
            off = difference(own_gradients.run(graph, made.inputs, engine), expected)
            if not off <= tolerance(made):
                wrong.append(f"seed {seed}, {engine}, off by {off:.1e}:\n{made.text}")
    assert not wrong, "\n".join(wrong)


def test_every_function_of_the_table_is_there():
    assert missing(ops) == [] and missing(keras.ops) == []
