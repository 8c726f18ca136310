"""Compiled hinges, cosine similarity and focal losses: what depends on ties, on labels, on empty rows."""

import numpy as np
import pytest

from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.kernels.losses.loss import Others
from kernelearn.engine.cpu.plan import Fallback
from kernelearn.engine.program import ProgramBuilder
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded
from tests.engine.cpu.memory import needs_guard_pages

FOCAL = "categorical_focal_crossentropy"


def both(kind: str, p, t, **attrs) -> list[Problem]:
    """Value and gradient."""
    weights = np.random.default_rng(7).uniform(0.1, 2, len(p)).astype("float32")
    given, attrs = (np.asarray(p, "float32"), np.asarray(t, "float32"), weights), {"kind": kind, **attrs}
    ulps = 64.0 + np.shape(p)[-1]
    return [
        Problem("loss", given, attrs, ulps=ulps),
        Problem("loss_grad", (np.array(1.25), *given), attrs, ulps=ulps),
    ]


def scores(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape)


def labels(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(0, 2, shape).astype("float32")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["hinge", "squared_hinge"])
@pytest.mark.parametrize("shape", [(5, 1), (4, 3, 1), (3, 7), (6, 2, 33), (2, 100)], ids=str)
def test_labels_of_zero_and_one_are_signs_if_there_is_nothing_else(kind, shape, target):
    p, t = scores(*shape), labels(*shape)
    for last in (t.flat[-1], 0.25, -1.0, np.float32(1.0000001)):
        t.flat[-1] = last
        for problem in both(kind, p, t):
            check(problem, target)
    for problem in both(kind, p, 2 * labels(*shape) - 1):
        check(problem, target)


def test_the_conversion_of_labels_belongs_to_the_batch():
    """One image with another target: the labels of all images stay as they are."""
    p, t = np.full((4, 3), 0.5), np.zeros((4, 3))
    (plain,) = Bench(both("hinge", p, t)[0]).run()[1:]
    np.testing.assert_array_equal(plain, 1.5)
    t[3, 2] = -1
    (mixed,) = Bench(both("hinge", p, t)[0]).run()[1:]
    np.testing.assert_array_equal(mixed[:3], 1.0)


def test_labels_are_looked_at_once_for_value_and_gradient():
    graph = ProgramBuilder()
    p, t, weights = graph.input("p", (None, 4)), graph.input("t", (None, 4)), graph.input("w", (None,))
    loss, _ = graph.add("loss", p, t, weights, kind="hinge")
    one = graph.add("fill", shape=(), value=1.0, dtype="float32")
    grad = graph.add("loss_grad", one, p, t, weights, kind="hinge")
    graph.outputs = {"loss": loss.name, "grad": grad.name}
    executable = CpuExecutable(graph.build(), {})
    calls = [c for c in executable.calls() if not isinstance(c, Fallback)]
    assert sum(isinstance(c.code, Others) for c in calls) == 1
    inputs = {"p": scores(3, 4).astype("f"), "t": labels(3, 4), "w": np.ones(3, "f")}
    expected = np.maximum(1 - (2 * inputs["t"] - 1) * inputs["p"], 0).mean()
    np.testing.assert_allclose(executable.run(inputs)["loss"], expected, rtol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("classes", [1, 2, 16, 17, 70, 300])
def test_the_first_of_equal_rivals_gets_the_gradient(classes, target):
    rng = np.random.default_rng(classes)
    p = rng.integers(-1, 2, (9, classes)) / 2
    t = np.eye(classes)[rng.integers(0, classes, 9)]
    for problem in both("categorical_hinge", p, t):
        check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("classes", [1, 3, 17, 90])
def test_rows_of_zeros_have_no_direction(classes, target):
    p, t = scores(5, classes), scores(5, classes) + 1
    p[1], t[2], p[4], t[4] = 0, 0, 1e-9, 0
    # NOTE: the gradient of a row shorter than epsilon is divided by epsilon and hides those of the others.
    for problem in both("cosine_similarity", p, t):
        check(problem, target)
    p[[1, 4]] = scores(2, classes) + 2
    for problem in both("cosine_similarity", p, t):
        check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("classes", [2, 16, 17, 64, 65, 200])
@pytest.mark.parametrize("from_logits", [False, True])
def test_a_weight_for_every_class(classes, from_logits, target):
    rng = np.random.default_rng(classes)
    p = rng.normal(size=(4, classes)) if from_logits else rng.uniform(0.1, 1, (4, classes))
    t = np.eye(classes)[rng.integers(0, classes, 4)]
    for alpha in ([0.3], rng.uniform(0.1, 1, classes).tolist()):
        for problem in both(FOCAL, p, t, alpha=alpha, from_logits=from_logits):
            check(problem, target)


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_no_row_loss_leaves_its_buffers(target):
    problems = []
    for shape in [(3, 1), (3, 5), (2, 3, 17), (2, 71)]:
        t = np.eye(shape[-1])[np.zeros(shape[:-1], int)]
        problems += both("hinge", scores(*shape), labels(*shape))
        problems += both("squared_hinge", scores(*shape), scores(*shape))
        problems += both("categorical_hinge", scores(*shape), t)
        problems += both("cosine_similarity", scores(*shape), scores(*shape) + 1)
        if shape[-1] > 1:
            alpha = [0.5] * shape[-1]
            problems += both(FOCAL, scores(*shape), t, alpha=alpha, from_logits=True)
    check_guarded(problems, target)
