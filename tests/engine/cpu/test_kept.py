"""Dense layers with constant weights: packed once, noticed when they change, and against the reference."""

from dataclasses import replace

import numpy as np
import pytest

import kernelearn
from kernelearn.engine.cpu.cut import CutStep
from kernelearn.engine.cpu.kernels.products.kept import LEAST_BYTES, LEAST_TASKS, ROWS, UNIT, KeptPanels
from kernelearn.engine.cpu.kernels.products.panels import Panels
from kernelearn.engine.cpu.kernels.products.pieces import DEPTH
from kernelearn.engine.cpu.plan import Call
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded
from tests.engine.cpu.memory import needs_guard_pages
from tests.engine.cpu.random_problems import normal
from tests.engine.cpu.test_panels import PASSES, problem

guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
# (rows, inner, outer): tails of pieces, of blocks, of strips and of tiles; copied rows; more than ROWS.
SHAPES = ((1, 519, 520), (2, 300, 129), (3, 1024, 260), (7, 131, 417), (13, 640, 177), (ROWS + 5, 513, 65))
# More rows than a task takes at once, of few blocks of outputs.
MANY_ROWS = (20 * UNIT + 3, 1031, 33)


def constant(p: Problem) -> Problem:
    """The problem with weights that are variables, which its program does not change."""
    return replace(p, weights=(1,))


def kept(p: Problem, target: str | None = None) -> list[KeptPanels]:
    codes = [c.code for c in Bench(p, target).executable.calls() if isinstance(c, Call)]
    return [code for code in codes if isinstance(code, KeptPanels)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", (*SHAPES, MANY_ROWS), ids=str)
def test_products_with_kept_weights(shape, target):
    for operator in PASSES:
        p = constant(problem(operator, *shape))
        assert kept(p, target)
        check(p, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_they_stay_inside_of_their_buffers(target):
    check_guarded(
        [constant(problem(operator, *shape)) for operator in PASSES for shape in (*SHAPES, MANY_ROWS)], target
    )


def test_only_constant_weights_of_some_size_are_kept():
    assert not kept(problem("dense", 8, 519, 520))
    assert not kept(constant(problem("dense", 8, 64, LEAST_BYTES // 4 // 64 - 1)))
    assert kept(constant(problem("dense", 8, 64, LEAST_BYTES // 4 // 64)))
    large = constant(problem("dense", 8, 519, 520))
    x, kernel = large.arrays
    assert not kept(replace(large, arrays=(np.repeat(x[:, None], 65, 1), kernel)))


def test_few_outputs_of_many_rows_are_several_tasks():
    p = constant(problem("dense", *MANY_ROWS))
    (call,) = [c for c in Bench(p).executable.calls() if isinstance(c.code, KeptPanels)]
    assert LEAST_TASKS // 2 < call.tasks.count(MANY_ROWS[0]) <= LEAST_TASKS
    assert call.tasks.per_image == 0


def test_steps_that_pack_at_each_run_read_weights_where_they_are():
    program = Bench(constant(problem("dense", 8, 519, 520))).executable.program
    for keeps in (False, True):
        step = CutStep(program, keeps_constants=keeps)
        calls = [*step.plan.prologue, *step.plan.steps]
        assert any(isinstance(call.code, KeptPanels) for call in calls) == keeps
        assert any(isinstance(call.code, Panels) for call in calls) != keeps


def test_they_are_not_used_on_shallow_stacks(monkeypatch):
    monkeypatch.setattr("kernelearn.engine.cpu.machine.stack.is_deep", lambda: False)
    p = constant(problem("dense", 7, 519, 520))
    assert not kept(p)
    check(p)


def test_rounded_operands_are_multiplied_too():
    p = constant(problem("dense", 9, 519, 520, "bfloat16"))
    assert kept(p, "avx2")
    check(p, "avx2")


def test_any_number_of_rows_and_threads_gives_the_same_bits():
    p = constant(problem("dense", 37, 1100, 610))
    x, kernel = p.arrays
    found = []
    try:
        for count in (1, 2, 3):
            kernelearn.set_num_threads(count)
            found.append(Bench(p).run()[0])
            for rows in (1, 2, 5, 8):
                some = Bench(replace(p, arrays=(x[:rows], kernel))).run()[0]
                np.testing.assert_array_equal(some, found[0][:rows])
    finally:
        kernelearn.set_num_threads(None)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_a_piece_left_out_is_caught():
    def shorter(text: str) -> str:
        return text.replace(f", {4 * DEPTH}\n", f", {3 * DEPTH}\n")

    with pytest.raises(AssertionError, match="entries are off"):
        check(constant(problem("dense", 7, 5 * DEPTH - 1, 520)), change=shorter)


def test_changed_weights_are_noticed(tmp_path):
    kernelearn.utils.set_random_seed(0)
    layers = kernelearn.layers
    model = kernelearn.Sequential(
        [layers.Dense(300, activation="relu", input_shape=(400,)), layers.Dense(10, activation="softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", engine="cpu")
    rng = np.random.default_rng(0)
    x, labels = normal(rng, 21, 400), rng.integers(0, 10, 21)

    def check_prediction() -> None:
        kernel, bias, second, other = (w.astype("float64") for w in model.get_weights())
        z = np.maximum(x @ kernel + bias, 0) @ second + other
        e = np.exp(z - z.max(1, keepdims=True))
        for batch in (21, 1):
            y = model.predict(x, batch_size=batch, verbose=0)
            np.testing.assert_allclose(y, e / e.sum(1, keepdims=True), rtol=1e-4, atol=1e-6)

    check_prediction()
    path = tmp_path / "model.kernelearn"
    model.save(path)
    model.fit(x, labels, epochs=2, verbose=0)
    check_prediction()
    model.set_weights([w + 0.01 for w in model.get_weights()])
    check_prediction()
    variable = model.layers[0].kernel
    variable.assign(variable.value * 0.5)
    check_prediction()
    with pytest.raises(ValueError, match="read-only"):
        variable.value[...] *= 0.5
    check_prediction()
    for variable, array in zip(model.weights, kernelearn.load_model(path).get_weights()):
        variable.assign(array)
    check_prediction()
