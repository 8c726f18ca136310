"""The choice of an engine: the compiled one by default, in float64 too, and the reference one on request."""

import subprocess
import sys

import numpy as np
import pytest

from kernelearn import Sequential, config, layers, ops
from kernelearn.engine.backends import ENGINES, resolve_engine
from tests import test_ops


def small(engine=None) -> Sequential:
    model = Sequential([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])
    model.compile("sgd", "mse", engine=engine)
    return model


def engine_of(model: Sequential, kind: str = "train") -> str:
    return model.step(kind).executable.engine


@pytest.fixture
def no_choice(monkeypatch):
    """The process has no engine of its own choice."""
    monkeypatch.setitem(config._state, "engine", None)


def test_the_compiled_engine_is_the_default(no_choice):
    assert next(iter(ENGINES)) == resolve_engine() == "cpu"
    assert engine_of(small()) == engine_of(small(), "test") == engine_of(small(), "predict") == "cpu"


def test_the_reference_engine_can_be_asked_for(no_choice):
    assert engine_of(small("reference")) == "reference"
    config.set_engine("reference")
    assert engine_of(small()) == engine_of(small(), "predict") == "reference"
    assert engine_of(small("cpu")) == "cpu"


def test_float64_is_computed_by_the_compiled_engine(no_choice):
    config.set_floatx("float64")
    model = small("cpu")
    assert engine_of(model) == "cpu"
    assert model.predict(np.ones((3, 4, 4, 1)), verbose=0).dtype == np.float64


def test_the_engine_loads_when_it_is_used():
    code = (
        "import sys, kernelearn.models, kernelearn.layers, kernelearn.engine.backends\n"
        "print([m for m in sys.modules if 'llvmlite' in m or 'engine.cpu' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def narrowed(arguments):
    """float64 arrays as float32; everything else as it is."""
    return tuple(a.astype("float32") if isinstance(a, np.ndarray) else a for a in arguments)


@pytest.mark.parametrize("name", [*test_ops.CALLS, *test_ops.POINTWISE])
def test_every_function_of_ops_on_the_compiled_engine(name):
    arguments, keywords = test_ops.CALLS.get(name, ((test_ops.X,), {}))
    keywords = {k: narrowed((v,))[0] for k, v in keywords.items()}
    call = getattr(ops, name)
    expected = call(*narrowed(arguments), **keywords, engine="reference")
    got = call(*narrowed(arguments), **keywords, engine="cpu")
    assert got.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max())


def test_ops_in_float64_keep_their_precision():
    exact = ops.conv(test_ops.X, test_ops.W, engine="reference")
    np.testing.assert_allclose(ops.conv(test_ops.X, test_ops.W, engine="cpu"), exact, rtol=1e-12, atol=1e-13)
