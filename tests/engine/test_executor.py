"""The reference executable: inputs, updates, the guard against a loss that is not finite, memory."""

import weakref

import numpy as np
import pytest

from kernelearn.engine.executor import ReferenceExecutable
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.errors import KernelearnError, ShapeError


def _step():
    """One step of least squares by gradient descent, with a moving average of the inputs."""
    builder = ProgramBuilder(training=True, dtype="float64")
    x, target = builder.input("x", (None, 2)), builder.input("target", (None, 1))
    weight, state = (
        Variable(np.array([[1.0], [-1.0]]), "kernel"),
        Variable(np.zeros(2), "mean", trainable=False),
    )
    kernel = builder.variable(weight)
    average = builder.variable(state, role="state")
    _, mean, _ = builder.add("normalize", x, axes=(0,), epsilon=1e-3)
    builder.update("moving_average", (average, mean), (average,), momentum=0.5)
    y = builder.add("dense", x, kernel)
    loss, _ = builder.add("loss", y, target, builder.input("weights", (None,)), kind="mean_squared_error")
    grads = add_gradients(builder, loss)
    rate, step = builder.input("rate", ()), builder.input("step", (), "int64")
    builder.update("sgd_update", (kernel, grads["kernel"], rate, step), (kernel,))
    builder.outputs = {"loss": loss.name, "y": y.name}
    return ReferenceExecutable(builder.build(), builder.variables), weight, state


def _inputs(x):
    return {"x": x, "target": np.zeros((len(x), 1)), "weights": np.ones(len(x)), "rate": 0.1, "step": 1}


def test_a_step_updates_parameters_and_states():
    step, weight, state = _step()
    x = np.array([[1.0, 2.0], [3.0, 5.0]])
    results = step.run(_inputs(x))
    np.testing.assert_allclose(results["loss"], np.mean([1, 4]))
    np.testing.assert_allclose(state.value, x.mean(0) / 2)
    residual = np.array([-1.0, -2.0])
    np.testing.assert_allclose(weight.value[:, 0], [1, -1] - 0.1 * (residual @ x))
    assert (weight.version, state.version) == (1, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_nothing_changes_when_the_loss_is_not_finite(bad):
    step, weight, state = _step()
    before = weight.numpy(), state.numpy()
    results = step.run(_inputs(np.array([[bad, 1.0], [1.0, 1.0]])))
    assert not np.isfinite(results["loss"])
    np.testing.assert_array_equal(weight.value, before[0])
    np.testing.assert_array_equal(state.value, before[1])
    assert weight.version == 0


def test_missing_inputs_are_named():
    step, *_ = _step()
    with pytest.raises(KernelearnError, match="needs inputs"):
        step.run({"x": np.zeros((1, 2))})


def test_inputs_of_a_wrong_shape_are_named():
    step, *_ = _step()
    with pytest.raises(ShapeError, match=r"x \(n, 2\) .*\(3, 4\)"):
        step.run({**_inputs(np.zeros((3, 2))), "x": np.zeros((3, 4))})


def test_inputs_are_converted_and_left_alone():
    step, *_ = _step()
    x = np.array([[1, 2], [3, 5]], dtype="uint8")
    assert step.run(_inputs(x))["y"].dtype == np.float64
    np.testing.assert_array_equal(x, [[1, 2], [3, 5]])


def test_results_do_not_share_memory_with_inputs_or_weights():
    builder = ProgramBuilder(dtype="float64")
    weight = Variable(np.ones((2, 2)), "kernel")
    flat = builder.add("reshape", builder.variable(weight), shape=(4,))
    x = builder.input("x", (None, 2, 2))
    builder.outputs = {"w": flat.name, "y": builder.add("reshape", x, shape=(None, 4)).name, "x": x.name}
    array = np.zeros((1, 2, 2))
    results = ReferenceExecutable(builder.build(), builder.variables).run({"x": array})
    for result in results.values():
        result[...] = 7
    assert (array == 0).all() and (weight.value == 1).all()


def test_arrays_are_released_after_their_last_use(monkeypatch):
    """In a chain of n operations no more than two results live at the same time."""
    builder = ProgramBuilder(dtype="float64")
    x = builder.input("x", (None, 2))
    for _ in range(6):
        x = builder.add("scale", x, factor=2.0)
    builder.outputs = {"y": x.name}
    step = ReferenceExecutable(builder.build(), {})
    made, alive = [], []
    compute = step._compute

    def counting(op, arrays):
        compute(op, arrays)
        made.append(weakref.ref(arrays[op.outputs[0]]))
        alive.append(sum(ref() is not None for ref in made))

    monkeypatch.setattr(step, "_compute", counting)
    np.testing.assert_array_equal(step.run({"x": np.ones((1, 2))})["y"], [[64, 64]])
    assert max(alive) == 2


def test_trace_shows_every_operation_without_updates():
    step, weight, _ = _step()
    before = weight.numpy()
    operators = [op.operator for op, _ in step.trace(_inputs(np.ones((2, 2))))]
    assert "sgd_update" not in operators and operators[:2] == ["normalize", "dense"]
    np.testing.assert_array_equal(weight.value, before)
