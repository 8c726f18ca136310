"""What random networks hold in training: the steps of the float64 reference, the same for all threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import kernelearn
from kernelearn import config

# A ReLU or the winner of a pooling that is a tie up to rounding changes a gradient by this much.
TOLERANCE = 2e-2
# Predictions, and what training adds to each weight.
Trained = tuple[np.ndarray, list[np.ndarray]]


def trained_steps(model, x: np.ndarray, y: np.ndarray, steps: int) -> Trained:
    """Predictions in batches of five, and what so many steps add to the weights of a compiled model."""
    dtype = config.floatx()
    before = model.get_weights()
    predicted = model.predict(x.astype(dtype), batch_size=5, verbose=0)
    for _ in range(steps):
        model.train_on_batch(x.astype(dtype), y.astype(dtype))
    return predicted, [after - b for after, b in zip(model.get_weights(), before)]


def check_training(trained: Callable[[str], Trained]) -> None:
    """Compare engine "cpu" in float32, for 1 and 3 threads, with engine "reference" in float64.

    Args:
        trained: engine -> what a new network of the float type that is set gives.
    """
    dtype = config.floatx()
    try:
        config.set_floatx("float64")
        predicted, steps = trained("reference")
        config.set_floatx("float32")
        found = []
        for threads in (1, 3):
            kernelearn.set_num_threads(threads)
            found.append(trained("cpu"))
    finally:
        config.set_floatx(dtype)
        kernelearn.set_num_threads(None)
    for one, three in zip(found[0][1], found[1][1]):
        np.testing.assert_array_equal(one, three)
    np.testing.assert_allclose(found[0][0], predicted, rtol=1e-4, atol=1e-4 * np.abs(predicted).max())
    largest = max(np.sqrt(np.mean(step**2)) for step in steps)
    for step, own in zip(steps, found[0][1]):
        error = np.sqrt(np.mean((own - step) ** 2))
        assert error <= TOLERANCE * max(np.sqrt(np.mean(step**2)), 0.01 * largest)
