"""Compiled losses and softmax against the float64 reference: what the random shapes do not reach."""

import itertools

import numpy as np
import pytest

from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import ArgumentError
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded, check_special
from tests.engine.cpu.memory import needs_guard_pages
from tests.sweeps import some

CLASSES = [1, 2, 10, 16, 17, 64, 65, 130]
# Numbers of classes that each loss is always compiled for.
QUICK = (1, 10, 16, 65)
SPARSE, DENSE = "sparse_categorical_crossentropy", "categorical_crossentropy"
FOCAL = "categorical_focal_crossentropy"
# Kinds whose predictions are probabilities, and their attributes.
VARIANTS = [
    (SPARSE, {"from_logits": True}),
    (SPARSE, {"from_logits": True, "label_smoothing": 0.1}),
    (SPARSE, {"from_logits": True, "ignore_class": 0}),
    (SPARSE, {"from_logits": True, "ignore_class": -1, "label_smoothing": 0.2}),
    (SPARSE, {"label_smoothing": 0.1}),
    (SPARSE, {"ignore_class": 0}),
    (DENSE, {"from_logits": True}),
    (DENSE, {"from_logits": True, "label_smoothing": 0.1}),
    (DENSE, {"label_smoothing": 0.3}),
    ("binary_crossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    ("binary_crossentropy", {"label_smoothing": 0.1}),
    ("binary_focal_crossentropy", {"gamma": 1.5, "apply_class_balancing": True, "alpha": 0.3}),
    ("binary_focal_crossentropy", {"gamma": 1.0, "from_logits": True}),
    ("huber", {"delta": 0.25}),
    ("mean_squared_error", {}),
    ("kl_divergence", {}),
    ("hinge", {}),
    ("squared_hinge", {}),
    ("categorical_hinge", {}),
    ("cosine_similarity", {}),
    (FOCAL, {}),
    (FOCAL, {"from_logits": True, "gamma": 1.5, "label_smoothing": 0.1}),
    (FOCAL, {"label_smoothing": 0.2, "gamma": 0.5, "alpha": 0.6}),
]
# Kinds that mean nothing for a single class.
OF_CLASSES = (SPARSE, DENSE, FOCAL)
REDUCTIONS = ("sum_over_batch_size", "sum", "mean_with_sample_weight")


def arrays(kind: str, attrs: dict, classes: int, inside=(), n: int = 5, seed: int = 0) -> tuple:
    """Predictions, targets and weights."""
    rng = np.random.default_rng((seed, classes, n))
    labels = rng.integers(0, classes, (n, *inside))
    if attrs.get("ignore_class", 0) < 0:
        labels[0] = attrs["ignore_class"]
    if attrs.get("from_logits"):
        p = 3 * rng.normal(size=(n, *inside, classes))
    else:
        p = rng.uniform(0.05, 0.95, (n, *inside, classes))
    one_hot = (labels[..., None] == np.arange(classes)).astype("float32")
    target = labels if kind == SPARSE else (0.8 * one_hot + 0.1).astype("float32")
    return p.astype("float32"), target, rng.uniform(0.1, 2, n).astype("float32")


def problems(
    variant, classes: int, inside=(), reduction: str = REDUCTIONS[0], seed: int = 0
) -> list[Problem]:
    kind, attrs = variant
    attrs = {"kind": kind, "reduction": reduction, **attrs}
    given = arrays(kind, attrs, classes, inside, seed=seed)
    ulps = 64.0 + classes
    return [
        Problem("loss", given, attrs, ulps=ulps),
        Problem("loss_grad", (np.array(1.25), *given), attrs, ulps=ulps),
    ]


def name(variant) -> str:
    return f"{variant[0]}-{'-'.join(variant[1])}"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("lengths", [QUICK, pytest.param(CLASSES, marks=pytest.mark.slow)], ids=len)
@pytest.mark.parametrize("variant", VARIANTS, ids=name)
def test_rows_of_any_length(variant, lengths, target):
    for classes in lengths:
        if classes > 1 or variant[0] not in OF_CLASSES:
            for problem in problems(variant, classes):
                check(problem, target)


# Each variant with one reduction, each reduction with a third of them.
PAIRS = [(variant, REDUCTIONS[number % 3]) for number, variant in enumerate(VARIANTS)]


@pytest.mark.parametrize(
    ("variant", "reduction"),
    some(itertools.product(VARIANTS, REDUCTIONS), quick=PAIRS),
    ids=lambda value: value if isinstance(value, str) else name(value),
)
def test_samples_inside_of_images_and_reductions(variant, reduction):
    for classes in (1, 3, 21):
        if classes > 1 or variant[0] not in OF_CLASSES:
            for problem in problems(variant, classes, (3, 7), reduction):
                check(problem)


@pytest.mark.parametrize("variant", [VARIANTS[0], VARIANTS[6], VARIANTS[4]], ids=name)
def test_a_thousand_classes(variant):
    for problem in problems(variant, 1003):
        check(problem)


def test_targets_with_and_without_a_last_axis_of_one():
    p, labels, weights = arrays(SPARSE, {}, 4, (3,))
    for attrs, given in [
        ({"kind": SPARSE}, (p, labels[..., None], weights)),
        ({"kind": "mean_squared_error"}, (p[..., :1], p[..., 1], weights)),
        ({"kind": "mean_squared_error"}, (p[..., 0], p[..., 1:2], weights)),
    ]:
        check(Problem("loss", given, attrs))
        check(Problem("loss_grad", (np.array(1.0), *given), attrs))


def test_nothing_counts_if_all_labels_are_ignored():
    attrs = {"kind": SPARSE, "ignore_class": 1, "from_logits": True}
    p, labels, weights = arrays(SPARSE, attrs, 4)
    given = (np.full_like(p, np.nan), np.ones_like(labels), weights)
    loss, values = Bench(Problem("loss", given, attrs)).run()
    (grad,) = Bench(Problem("loss_grad", (np.array(1.0), *given), attrs)).run()
    assert loss == 0
    assert not values.any()
    assert not grad.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("variant", VARIANTS, ids=name)
def test_a_loss_does_not_hide_nan_and_infinity(variant, bad):
    for problem in problems(variant, 19):
        given = [np.array(a) for a in problem.arrays]
        given[-3][1, 17] = bad
        given[-1][2] = 0
        check_special(Problem(problem.operator, tuple(given), problem.attrs))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("operator", ["softmax", "log_softmax", "softmax_grad", "log_softmax_grad"])
def test_softmax_does_not_hide_nan_and_infinity(operator, bad):
    for place in range(19):
        x, y = np.random.default_rng(0).normal(size=(2, 3, 19)).astype("float32")
        x[1, place] = bad
        x[2] = bad
        check_special(Problem(operator, (x, y) if operator.endswith("grad") else (x,)))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("classes", CLASSES)
def test_softmax_of_large_logits(classes, target):
    x = (np.random.default_rng(0).normal(size=(6, 2, classes)) * 60).astype("float32")
    check(Problem("softmax", (x,), {"axis": -1}, ulps=4.0 + classes), target)
    check(Problem("log_softmax", (x,), {"axis": 2}, ulps=4.0 + classes), target)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("label", [7, -1, 2**40])
def test_a_label_that_is_no_class_is_an_error_that_names_it(label, smoothing):
    graph = ProgramBuilder()
    p, t = graph.input("p", (None, 7)), graph.input("t", (None,), "int64")
    attrs = {"kind": SPARSE, "from_logits": True, "label_smoothing": smoothing}
    loss, values = graph.add("loss", p, t, graph.input("weights", (None,)), **attrs)
    graph.outputs = {"loss": loss.name, "values": values.name}
    executable = CpuExecutable(graph.build(), {})
    inputs = {"p": np.ones((3, 7), "f"), "t": np.array([0, 6, 3]), "weights": np.ones(3, "f")}
    np.testing.assert_allclose(executable.run(inputs)["loss"], np.log(7), rtol=1e-6)
    with pytest.raises(ArgumentError, match=f"from 0 to 6 for predictions of 7 classes.*{label}"):
        executable.run({**inputs, "t": np.array([0, label, 3])})


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_no_loss_leaves_its_buffers(target):
    sizes = [(17, ()), (3, (5,)), (70, ())]
    check_guarded(
        [p for v in VARIANTS for classes, inside in sizes for p in problems(v, classes, inside)], target
    )
