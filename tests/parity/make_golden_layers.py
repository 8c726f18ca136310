"""Make golden_layers.npz: what Keras gives for every case of `layer_cases.py`, in float64.

Run from the root of the repository, in an environment with keras and jax:

    python -m tests.parity.make_golden_layers

For every layer: output, gradient of a mean squared error with respect to inputs and weights, and all weights
    after one
step of SGD. For random layers: the output for given draws.
"""

import json
from pathlib import Path

from tests.parity.keras64 import keras  # isort: skip  (sets JAX to 64 bits, so it comes before it)
import jax
import jax.numpy as jnp
import numpy as np

from tests.parity.layer_cases import BATCH, CASES, RATE, WARPS, LayerCase, WarpCase

PATH = Path(__file__).with_name("golden_layers.npz")


def run_layer(case: LayerCase) -> list[np.ndarray]:
    """[output, gradients of inputs, gradients of trainable weights, all weights after the step]."""
    layer = getattr(keras.layers, case.layer)(**{**case.arguments, "dtype": "float64"})
    inputs = [jnp.asarray(x) for x in case.inputs()]
    layer.build([x.shape for x in inputs] if len(inputs) > 1 else inputs[0].shape)
    floats = [w for w in layer.weights if "float" in str(w.dtype)]
    for weight, value in zip(floats, case.weights([w.shape for w in floats])):
        weight.assign(value)
    if hasattr(layer, "finalize_state"):
        layer.finalize_state()
    layer(inputs if len(inputs) > 1 else inputs[0])
    trainable = [w.value for w in layer.trainable_variables]
    fixed = [w.value for w in layer.non_trainable_variables]
    target = None

    def forward(weights, xs):
        call = xs if len(xs) > 1 else xs[0]
        arguments = {"training": case.training} if layer._call_has_training_arg else {}
        return layer.stateless_call(weights, fixed, call, **arguments)

    def loss(weights, xs):
        y, state = forward(weights, xs)
        return jnp.sum(jnp.mean(jnp.square((y - target).reshape(BATCH, -1)), axis=1)), (y, state)

    target = jnp.asarray(case.target(forward(trainable, inputs)[0].shape))
    (grad_weights, grad_inputs), (output, state) = jax.grad(loss, argnums=(0, 1), has_aux=True)(
        trainable, inputs
    )
    for variable, value in zip(layer.non_trainable_variables, state):
        variable.assign(value)
    if trainable:
        keras.optimizers.SGD(RATE).apply(grad_weights, layer.trainable_variables)
    return [np.asarray(a) for a in (output, *grad_inputs, *grad_weights, *[w.value for w in floats])]


class _Draws:
    """Stands in for the random numbers of Keras: gives the rows of a case, column by column."""

    def __init__(self, case: WarpCase) -> None:
        self.columns = [np.array(column) for column in zip(*case.draws)]

    def uniform(self, shape=(), minval=0.0, maxval=1.0, dtype=None, seed=None):
        column = self.columns.pop(0).reshape(shape)
        return jnp.asarray(minval + column * (maxval - minval), dtype or "float64")


def run_warp(case: WarpCase) -> np.ndarray:
    """The training output for the draws of the case."""
    layer = getattr(keras.layers, case.layer)(**{**case.arguments, "dtype": "float64"})
    draws = _Draws(case)
    random = layer.backend.random
    original, random.uniform = random.uniform, draws.uniform
    try:
        return np.asarray(layer(jnp.asarray(case.inputs()), training=True))
    finally:
        random.uniform = original


def main() -> None:
    arrays = {}
    for number, case in enumerate(CASES):
        for part, array in enumerate(run_layer(case)):
            arrays[f"layer{number}_{part}"] = array
    for number, case in enumerate(WARPS):
        arrays[f"warp{number}"] = run_warp(case)
    made_with = {"keras": keras.__version__, "jax": jax.__version__, "numpy": np.__version__}
    labels = {"layers": [c.label for c in CASES], "warps": [c.label for c in WARPS], "made_with": made_with}
    arrays["meta"] = np.array(json.dumps(labels))
    np.savez_compressed(PATH, **arrays)
    print(f"{len(CASES)} layers and {len(WARPS)} random changes: {PATH.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
