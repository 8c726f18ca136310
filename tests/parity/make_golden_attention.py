"""Make golden_attention.npz: what Keras gives for every case of `attention_cases.py`, in float64.

Run from the root of the repository, in an environment with keras and jax:

    python -m tests.parity.make_golden_attention

For every call: outputs, and gradients of the sum of squared differences from a target with respect to inputs
and weights.
"""

from pathlib import Path

from tests.parity.keras64 import keras  # isort: skip  (sets JAX to 64 bits, so it comes before it)
import jax
import jax.numpy as jnp
import numpy as np

from tests.parity.attention_cases import CASES, AttentionCase

PATH = Path(__file__).with_name("golden_attention.npz")


def run_case(case: AttentionCase) -> list[np.ndarray]:
    """[outputs, gradients of inputs, gradients of weights]."""
    layer = getattr(keras.layers, case.layer)(**{**case.arguments, "dtype": "float64"})
    inputs = [jnp.asarray(x) for x in case.inputs()]
    keywords = case.keywords()

    def arguments(xs):
        return (list(xs),) if case.is_list else tuple(xs)

    first = jax.tree_util.tree_leaves(layer(*arguments(inputs), **keywords))[0]
    for weight, value in zip(layer.weights, case.weights([w.shape for w in layer.weights])):
        weight.assign(value)

    def loss(weights, xs):
        result, _ = layer.stateless_call(weights, [], *arguments(xs), **keywords)
        outputs = result if isinstance(result, list | tuple) else [result]
        return jnp.sum(jnp.square(outputs[0] - target)), outputs

    target = jnp.asarray(case.target(first.shape))
    weights = [w.value for w in layer.trainable_variables]
    (grad_weights, grad_inputs), outputs = jax.grad(loss, argnums=(0, 1), has_aux=True)(weights, inputs)
    return [np.asarray(a) for a in (*outputs, *grad_inputs, *grad_weights)]


def main() -> None:
    arrays = {f"{n}/{i}": a for n, case in enumerate(CASES) for i, a in enumerate(run_case(case))}
    np.savez_compressed(PATH, **arrays)


if __name__ == "__main__":
    main()
