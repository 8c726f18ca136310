"""A compiled program as callers meet it: inputs, batch sizes, constants from weights, overflowing losses."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, layers
from kernelearn.engine.cpu import executable as module
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.gathering import Stretch
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import KernelearnError, ShapeError
from kernelearn.models import zoo
from kernelearn.training.steps.step_program import StepProgram

RNG = np.random.default_rng(0)
X, Y = RNG.random((9, 12, 12, 1)).astype("float32"), RNG.integers(0, 3, 9)


@pytest.fixture
def model():
    found = zoo.lenet((12, 12, 1), 3)
    found.compile("adam", "sparse_categorical_crossentropy", engine="cpu")
    return found


def twin(model):
    """The same network and weights on the reference engine."""
    other = zoo.lenet((12, 12, 1), 3)
    other.compile("adam", "sparse_categorical_crossentropy", engine="reference")
    other.set_weights(model.get_weights())
    return other


def assert_predicts_as_the_reference(model):
    np.testing.assert_allclose(
        model.predict(X, verbose=0), twin(model).predict(X, verbose=0), rtol=1e-4, atol=1e-6
    )


def test_a_prediction_follows_its_weights(model):
    """Packed weights are made once, and again whenever the weights change, by whatever way."""
    assert_predicts_as_the_reference(model)
    model.set_weights([w + 0.01 for w in model.get_weights()])
    assert_predicts_as_the_reference(model)
    model.train_on_batch(X, Y)
    assert_predicts_as_the_reference(model)
    model.layers[0].kernel.assign(np.zeros(model.layers[0].kernel.shape))
    assert_predicts_as_the_reference(model)


def test_training_on_the_reference_engine_is_seen_too(model):
    assert_predicts_as_the_reference(model)
    program = model.step("train").executable
    from kernelearn.engine.executor import ReferenceExecutable

    model.programs.put(StepProgram("train", ReferenceExecutable(program.program, program.variables)))
    model.train_on_batch(X, Y)
    assert_predicts_as_the_reference(model)


def test_constants_are_made_once_for_unchanged_weights(model, monkeypatch):
    model.predict(X, verbose=0)
    runs = []
    real = threads.Pool.run
    monkeypatch.setattr(threads.Pool, "run", lambda self, *job: runs.append(job) or real(self, *job))
    for _ in range(3):
        model.predict(X, verbose=0)
    predict = model.step("predict").executable
    assert len(predict.prologue) > 0
    assert len(runs) == 3 * len([s for s in predict.stretches if isinstance(s, Stretch)])


def test_constants_are_made_again_after_an_interrupt(model, monkeypatch):
    def interrupt(self, *job):
        raise KeyboardInterrupt

    expected = twin(model).predict(X, verbose=0)
    with monkeypatch.context() as patch:
        patch.setattr(threads.Pool, "run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.predict(X, verbose=0)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-4, atol=1e-6)


def test_a_step_that_is_interrupted_behind_its_updates_is_seen_by_predictions(model, monkeypatch):
    """Ctrl-C comes where the native loop returns: weights have moved then, and nobody has said so."""
    model.train_on_batch(X, Y)
    assert_predicts_as_the_reference(model)
    real = threads.Pool.run

    def interrupt(self, *job):
        real(self, *job)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threads.Pool, "run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.train_on_batch(X, Y)
    assert_predicts_as_the_reference(model)


def test_frozen_layers_are_trained_around():
    model = zoo.lenet((12, 12, 1), 3)
    model.layers[2].trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy", engine="cpu")
    other = zoo.lenet((12, 12, 1), 3)
    other.layers[2].trainable = False
    other.compile("sgd", "sparse_categorical_crossentropy", engine="reference")
    other.set_weights(model.get_weights())
    for _ in range(3):
        model.train_on_batch(X, Y)
        other.train_on_batch(X, Y)
    for a, b in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_any_number_of_images_in_any_order(model, monkeypatch):
    monkeypatch.setattr(module, "MAX_BINDINGS", 2)
    expected = twin(model).predict(X, verbose=0)
    for count in (1, 9, 2, 9, 3, 1, 5):
        found = model.predict(X[:count], batch_size=count, verbose=0)
        np.testing.assert_allclose(found, expected[:count], rtol=1e-4, atol=1e-6)
    assert len(model.step("predict").executable._bindings) <= 2


def test_results_are_the_callers(model):
    """A second run must not change what the first gave back."""
    executable = model.step("predict").executable
    first = executable.run({"x_0": X})["y_pred_0"]
    kept = first.copy()
    executable.run({"x_0": 2 * X})
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    "given",
    [
        X.astype("float64"),
        np.asfortranarray(X),
        np.repeat(X, 2, axis=0)[::2],
        X[::-1][::-1],
        np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view("float32").reshape(X.shape),
        X.tolist(),
    ],
    ids=["float64", "fortran", "strided", "reversed", "unaligned", "list"],
)
def test_inputs_of_any_layout(model, given):
    executable = model.step("predict").executable
    expected = executable.run({"x_0": X})["y_pred_0"]
    np.testing.assert_array_equal(executable.run({"x_0": given})["y_pred_0"], expected)


def read_only(array: np.ndarray) -> np.ndarray:
    given = array.copy()
    given.flags.writeable = False
    return given


@pytest.mark.parametrize(
    "given", [read_only(X), X.astype(">f4"), X.astype("float16"), X.view(np.recarray)],
    ids=["read only", "big endian", "float16", "subclass"],
)  # fmt: skip
def test_inputs_of_any_kind(model, given):
    executable = model.step("predict").executable
    expected = executable.run({"x_0": np.ascontiguousarray(given, "float32")})["y_pred_0"]
    for _ in range(3):
        np.testing.assert_array_equal(executable.run({"x_0": given})["y_pred_0"], expected)


def test_every_run_reads_the_input_that_it_is_given(model):
    """Where an input lies is looked up at each run, even where an array's memory has moved."""
    executable = model.step("predict").executable
    expected = executable.run({"x_0": X})["y_pred_0"]
    given = X[:2].copy()
    executable.run({"x_0": given})
    given.resize((9, 12, 12, 1), refcheck=False)
    given[:] = X
    np.testing.assert_array_equal(executable.run({"x_0": given})["y_pred_0"], expected)
    given[:] = 0
    assert not np.array_equal(executable.run({"x_0": given})["y_pred_0"], expected)


@pytest.mark.parametrize("images", [(9, 9), (9, 1), (1, 9)])
def test_results_of_two_runs_share_no_memory(model, images):
    executable = model.step("predict").executable
    first, second = (executable.run({"x_0": X[:n]})["y_pred_0"] for n in images)
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, executable.arena.memory)


def test_an_input_that_is_a_result_is_copied():
    """Its address differs from run to run, so it is no result with a fixed place."""
    builder = ProgramBuilder(dtype="float32")
    x = builder.input("x", (None, 6), "float32")
    shaped = builder.add("reshape", x, shape=(None, 2, 3))
    builder.outputs = {"x": "x", "shaped": shaped.name, "twice": builder.add("scale", x, factor=2.0).name}
    executable = CpuExecutable(builder.build(), {})
    for factor in (1, 3):
        given = factor * np.arange(12, dtype="float32").reshape(2, 6)
        found = executable.run({"x": given})
        for label, expected in (("x", given), ("shaped", given.reshape(2, 2, 3)), ("twice", 2 * given)):
            np.testing.assert_array_equal(found[label], expected)
            assert not np.shares_memory(found[label], given)


def test_numbers_of_images_that_differ_are_refused(model):
    program = model.step("train").executable
    given = {b.name: np.zeros([s or 9 for s in b.shape], b.dtype) for b in program.program.inputs()}
    with pytest.raises(ShapeError, match="All inputs must have the same number of images"):
        program.run({**given, "weight_0": np.ones(8, "float32")})
    with pytest.raises(ShapeError, match=r"y_true_0 \(n\) int64 got an array of shape \(\)"):
        program.run({**given, "y_true_0": np.int64(1)})
    with pytest.raises(ShapeError, match=r"learning_rate \(\) float64 got an array of shape \(1,\)"):
        program.run({**given, "learning_rate": np.ones(1)})


def test_inputs_are_not_written(model):
    x, y = X.copy(), Y.copy()
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_wrong_inputs_are_refused(model):
    executable = model.step("predict").executable
    with pytest.raises(KernelearnError, match=r"needs inputs \['x_0'\]"):
        executable.run({})
    with pytest.raises(ShapeError, match="x_0"):
        executable.run({"x_0": X[:, :5]})


def test_a_loss_that_is_no_number_changes_no_weight(model):
    good = model.get_weights()
    model.set_weights([1e10 * w for w in good])
    before = model.get_weights()
    assert not np.isfinite(model.train_on_batch(np.full_like(X, 3e38), Y))
    for a, b in zip(model.get_weights(), before):
        np.testing.assert_array_equal(a, b)
    model.set_weights(good)
    assert np.isfinite(model.train_on_batch(X, Y))


def test_a_program_that_only_reshapes_runs():
    model = Sequential([Input((2, 3)), layers.Reshape((3, 2)), layers.Flatten()])
    model.compile(engine="cpu")
    x = RNG.random((4, 2, 3)).astype("float32")
    np.testing.assert_array_equal(model.predict(x, verbose=0), x.reshape(4, 6))


def test_memory_is_shared_by_values_that_never_live_together(model):
    """The arena is far smaller than all computed values side by side."""
    executable = model.step("train").executable
    model.train_on_batch(X, Y)
    from kernelearn.engine.work import byte_count

    values = [b for b in executable.plan.buffers.values() if b.role == "value"]
    assert executable.arena_bytes < byte_count(values, len(X))
    assert isinstance(executable, CpuExecutable)
