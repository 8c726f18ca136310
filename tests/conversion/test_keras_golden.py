"""Files that Keras 2 and 3 have written, by tests/parity/make_golden_keras_files.py."""

from pathlib import Path

import numpy as np
import pytest

from kernelearn.errors import FormatError
from kernelearn.saving import load_model

FOLDER = Path(__file__).parent / "golden_keras"
CASES = sorted(path.stem for path in FOLDER.glob("*.npz"))


def results(case):
    with np.load(FOLDER / f"{case}.npz") as held:
        return dict(held)


def test_there_are_files_of_three_kinds_of_keras():
    assert {case.rpartition("-")[0] for case in CASES} == {"keras2", "keras3-jax", "keras3-tensorflow"}


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("case", CASES)
def test_predictions_and_three_training_steps(case, ending):
    model, known = load_model(FOLDER / f"{case}{ending}"), results(case)
    np.testing.assert_allclose(model.predict(known["x"], verbose=0), known["predicted"], rtol=1e-5, atol=1e-6)
    losses = [model.train_on_batch(known["x"], known["y"])[0] for _ in range(3)]
    np.testing.assert_allclose(losses, known["losses"], rtol=2e-4)
    assert int(model.optimizer.iterations) == 4


@pytest.mark.parametrize("case", CASES)
def test_frozen_layers_stay_frozen(case):
    model = load_model(FOLDER / f"{case}.keras", compile=False)
    name = "first" if "sequential" in case else "inner/bn"
    assert not model.get_layer(name).trainable
    assert not model.compiled


@pytest.mark.parametrize("case", CASES)
def test_weights_alone(case):
    known, trained = results(case), load_model(FOLDER / f"{case}.keras")
    fresh = trained.clone()
    fresh.set_weights([np.zeros_like(w) for w in fresh.get_weights()])
    weights = FOLDER / f"{case}.weights.h5"
    if case.startswith("keras2"):
        with pytest.raises(FormatError, match="by_position=True"):
            fresh.load_weights(weights)
    read = fresh.load_weights(weights, by_position=case.startswith("keras2"))
    assert sorted(read) == sorted(fresh.weight_paths())
    np.testing.assert_allclose(fresh.predict(known["x"], verbose=0), known["predicted"], rtol=1e-5, atol=1e-6)
    fresh.set_weights([np.zeros_like(w) for w in fresh.get_weights()])
    for ending in (".h5", ".keras"):
        assert len(fresh.load_weights(FOLDER / f"{case}{ending}", by_position=ending == ".keras")) == len(
            read
        )
        assert all(np.array_equal(a, b) for a, b in zip(fresh.get_weights(), trained.get_weights()))
