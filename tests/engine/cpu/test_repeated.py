"""Compiled operators whose operands are repeated along any axes, several at a time."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, layers
from kernelearn.engine.cpu.kernels.entrywise.places import find_steps, merge_axes
from kernelearn.engine.cpu.plan import Fallback
from kernelearn.utils import set_random_seed
from tests.engine.cpu.harness import TARGETS, Problem, check, check_guarded
from tests.engine.cpu.memory import needs_guard_pages
from tests.sweeps import some

# Shapes of two operands; None as the first size stands for the images.
PAIRS = [
    ((None, 1, 5), (None, 4, 1)),
    ((None, 4, 5, 19), (None, 1, 5, 1)),
    ((None, 4, 5, 1), (None, 1, 1, 19)),
    ((None, 4, 1, 3), (None, 1, 6, 3)),
    ((None, 4, 1, 2, 1), (None, 1, 5, 1, 70)),
    ((None, 4, 5, 19), (1, 5, 1)),
    ((None, 1, 17), (4, 1)),
    ((None, 2, 3, 4, 5), (2, 1, 4, 1)),
]
# Sizes of weights for images of (4, 5, 19): what a normalisation over several axes has.
WEIGHTS = [(4, 5, 19), (5, 19), (1, 5, 1), (4, 1, 19), (4, 5, 1), (4, 1, 1), (5, 1), (19,), (1,)]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).normal(size=shape)


def pair_problem(operator: str, a: tuple, b: tuple) -> Problem:
    given = [normal(*(3 if s is None else s for s in shape), seed=i) for i, shape in enumerate((a, b))]
    images = tuple(i for i, shape in enumerate((a, b)) if shape[0] is None)
    return Problem(operator, tuple(given), ulps=1, images=images, weights=())


def weight_problems(small: tuple) -> list[Problem]:
    x, g = normal(3, 4, 5, 19), normal(3, 4, 5, 19, seed=1)
    a, b, positive = normal(*small, seed=2), normal(*small, seed=3), np.abs(normal(*small, seed=4)) + 0.1
    epsilon = {"epsilon": 1e-3}
    given = [
        ("affine", (x, a, b), {}, (1, 2)),
        ("standardize", (x, a, positive), epsilon, (1, 2)),
        ("standardize_grad", (g, positive), epsilon, (1,)),
        ("unstandardize", (x, a, positive), epsilon, (1, 2)),
        ("unstandardize_grad", (g, positive), epsilon, (1,)),
        ("prelu", (x, a), {}, (1,)),
        ("prelu_grad_input", (g, x, a), {}, (2,)),
    ]
    return [
        Problem(
            operator,
            arrays,
            attrs,
            ulps=8,
            weights=w,
            images=tuple({0, 1, 2} - set(w))[: len(arrays) - len(w)],
        )
        for operator, arrays, attrs, w in given
    ]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("operator", ["add", "subtract", "multiply", "maximum", "minimum"])
def test_two_operands_repeated(operator, target):
    for a, b in PAIRS:
        check(pair_problem(operator, a, b), target)
        if len(a) == len(b):
            check(pair_problem(operator, b, a), target)


@pytest.mark.parametrize("target", TARGETS)
def test_the_gradient_of_an_extreme_of_two_repeated_operands(target):
    x, other, g = normal(3, 4, 5, 1), normal(3, 1, 1, 19), normal(3, 4, 5, 19)
    y = np.maximum(x, other).astype("float32")
    for given in ((g, x, other, y), (g, other, x, y)):
        check(Problem("extreme_grad", given, ulps=1, images=(0, 1, 2, 3), weights=()), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("small", WEIGHTS, ids=str)
def test_weights_of_any_axes(small, target):
    for problem in weight_problems(small):
        check(problem, target)


@pytest.mark.parametrize("count", some([12, 60], quick=[12]))
@pytest.mark.parametrize("target", TARGETS)
def test_random_patterns(target, count):
    rng = np.random.default_rng(TARGETS.index(target))
    for _ in range(count):
        sizes = [int(s) for s in rng.integers(1, 8, rng.integers(1, 4))] + [int(rng.choice([1, 3, 16, 21]))]
        shapes = [tuple(s if rng.random() < 0.6 else 1 for s in sizes) for _ in range(2)]
        check(pair_problem("subtract", (None, *shapes[0]), (None, *shapes[1])), target)


@pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
@pytest.mark.parametrize("target", TARGETS)
def test_no_operand_is_left(target):
    problems = [pair_problem("multiply", a, b) for a, b in PAIRS]
    check_guarded([*problems, *(p for small in WEIGHTS for p in weight_problems(small))], target)


def test_axes_are_joined_where_all_operands_go_on():
    full, row = (12, 4, 1), (0, 0, 1)
    assert merge_axes((2, 3, 4), {"x": full})[0] == (24,)
    assert merge_axes((2, 3, 4), {"x": full, "row": row}) == ((6, 4), {"x": (4, 1), "row": (0, 1)})
    assert merge_axes((1, 1), {"x": (0, 0)})[0] == (1,)


def test_an_operand_that_does_not_fit_has_no_kernel():
    assert find_steps((None, 4, 5), (4, 5)) == (0, 5, 1)
    assert find_steps((None, 4, 5), (None, 1, 5)) == (5, 0, 1)
    for other in ((None, 2, 5), (3, 4, 5), (4, 4, 4, 5)):
        assert find_steps((None, 4, 5), other) is None


LAYERS = [
    lambda: layers.LayerNormalization(axis=(1, 2, 3)),
    lambda: layers.LayerNormalization(axis=(2, 3)),
    lambda: layers.PReLU(shared_axes=[1, 3]),
    lambda: layers.Dropout(0.3, noise_shape=(None, 1, 6, 1), seed=3),
]


def network(layer, engine: str) -> Sequential:
    model = Sequential([Input((8, 6, 4)), layers.Conv2D(4, 1), layer(), layers.Flatten(), layers.Dense(2)])
    model.compile("sgd", "mse", engine=engine)
    return model


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_with_such_operands_are_all_native(layer):
    x, y = normal(5, 8, 6, 4).astype("float32"), normal(5, 2).astype("float32")
    model, other = network(layer, "cpu"), network(layer, "reference")
    other.set_weights(model.get_weights())
    for each in (model, other):
        set_random_seed(2)
        for _ in range(2):
            each.train_on_batch(x, y)
    for a, b in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert not [c for c in model.step("train").executable.calls() if isinstance(c, Fallback)]
