"""Make golden_training.npz: weights after each of five training steps of small nets in Keras, in float64.

Run from the root of the repository, in an environment with keras and jax:

    python -m tests.parity.make_golden_training
"""

import json
from pathlib import Path

from tests.parity.keras64 import keras  # isort: skip  (sets JAX to 64 bits, so it comes before it)
import jax
import numpy as np

from tests.parity.training_cases import CASES, Case

PATH = Path(__file__).with_name("golden_training.npz")


def run(case: Case) -> dict[str, np.ndarray]:
    """step{s}_{i} for every weight after every step, and the loss of every step."""
    model = case.make(keras)
    x, y = case.data()
    model.set_weights(case.weights([w.shape for w in model.get_weights()]))
    model.compile(case.optimizer(keras), case.loss, jit_compile=False)
    found: dict[str, np.ndarray] = {}
    losses = []

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            for i, array in enumerate(self.model.get_weights()):
                found[f"step{batch}_{i}"] = array

        def on_epoch_end(self, epoch, logs=None):
            losses.append(logs["loss"])

    model.fit(x, y, case.batch_size, shuffle=False, verbose=0, callbacks=[Record()])
    return {**found, "loss": np.array(losses)}


def main() -> None:
    arrays = {f"{case.name}/{key}": array for case in CASES for key, array in run(case).items()}
    made_with = {"keras": keras.__version__, "jax": jax.__version__, "numpy": np.__version__}
    arrays["meta"] = np.array(json.dumps({"cases": [c.name for c in CASES], "made_with": made_with}))
    np.savez_compressed(PATH, **arrays)
    print(f"{len(CASES)} networks: {PATH.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
