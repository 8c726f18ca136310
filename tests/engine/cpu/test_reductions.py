"""Sums, means and maxima on the CPU engine, against the float64 reference."""

import numpy as np
import pytest

from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import ProgramBuilder
from tests.engine.cpu.harness import TARGETS, Problem, check, check_guarded, check_special
from tests.sweeps import some

SHAPES = [
    (3, 1, 1, 1),
    (2, 5, 3, 7),
    (1, 1, 1, 37),
    (3, 6, 4, 64),
    (2, 3, 2, 131),
    (5, 13),
    (4, 17, 3),
    (2, 2, 3, 2, 5),
]


def _normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def _axes(shape):
    """Ways to reduce a tensor of this rank: with and without the images."""
    rank = len(shape)
    spatial, last = tuple(range(1, rank - 1)), rank - 1
    choices = {tuple(range(rank - 1)), tuple(range(rank)), (0,), (last,), tuple(range(1, rank))}
    if spatial:
        choices |= {spatial, (0, last), (1,), (*spatial, last)}
    if rank > 3:
        choices |= {(1, 3), (0, 2)}
    return sorted(choices)


def _reductions(shape):
    x = _normal(shape)
    size = x.size
    yield Problem("bias_grad", (x,), terms=size)
    for axes in _axes(shape):
        kept = tuple(1 if i in axes else s for i, s in enumerate(shape))
        open_shape = tuple(None if i == 0 and 0 not in axes else s for i, s in enumerate(kept))
        yield Problem("sum_to", (x,), {"axes": axes, "shape": open_shape}, terms=size)
        yield Problem("reduce_mean", (x,), {"axes": axes}, terms=size + 1)
        yield Problem("reduce_mean", (x,), {"axes": axes, "keepdims": True}, terms=size + 1)
        yield Problem("reduce_max", (x,), {"axes": axes}, ulps=0.0)


def _problems(shape):
    return [*_reductions(shape)]


# The number of a shape: those of these are always compiled.
NUMBERS = some(range(len(SHAPES)), quick=(1, 4, 5, 7))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("number", NUMBERS)
def test_reductions_agree_with_the_reference(number, target):
    for problem in _problems(SHAPES[number]):
        check(problem, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("number", NUMBERS)
def test_reductions_stay_within_their_buffers(number, target):
    check_guarded(_problems(SHAPES[number]), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("place", [0, 5, 16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_come_through(value, place, target):
    x = _normal((2, 3, 2, 17))
    x.reshape(2, -1, 17)[1, place % 6, place] = value
    for axes in ((1, 2), (0, 1, 2), (3,), (0, 1, 2, 3)):
        check_special(Problem("reduce_max", (x,), {"axes": axes}), target)
        check_special(Problem("reduce_mean", (x,), {"axes": axes}), target)


@pytest.mark.parametrize("target", TARGETS)
def test_many_images_lose_no_digits(target):
    """The sum over images is carried in float64."""
    x = 1e4 + _normal((400, 3))
    problem = Problem("bias_grad", (x,), bound=lambda inputs, wide: [np.abs(e) * 2.0**-24 for e in wide])
    check(problem, target)


def _of_all_kinds() -> list[Problem]:
    """Without images, in shards of the first axis where that is long; of integers and booleans."""
    found = []
    for shape in ((7,), (5000,), (40, 30, 16), (3, 50, 19), (33, 2, 3, 17)):
        x, whole = _normal(shape), np.random.default_rng(1).integers(-9, 9, shape)
        for axes in _axes(shape):
            attrs = {"axes": tuple(sorted(set(axes)))}
            kept = tuple(s for i, s in enumerate(shape) if i not in axes)
            total = {**attrs, "shape": kept}
            fixed = {"images": ()}
            found += [
                Problem("sum_to", (x,), total, terms=x.size, **fixed),
                Problem("reduce_mean", (x,), attrs, terms=x.size + 1, **fixed),
                Problem("reduce_min", (x,), attrs, ulps=0.0, **fixed),
                Problem("sum_to", (whole.astype("int32"),), total, **fixed),
                Problem("reduce_max", (whole.astype("int64"),), attrs, **fixed),
                Problem("reduce_min", (whole > -9,), attrs, **fixed),
            ]
    for shape in SHAPES:
        x = np.random.default_rng(2).uniform(0.8, 1.2, shape)
        found += [Problem("reduce_prod", (x,), {"axes": axes}, terms=x.size) for axes in _axes(shape)]
        found += [Problem("reduce_max", (x > 1.19,), {"axes": axes}) for axes in _axes(shape)]
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_all_kinds_and_types_and_fixed_sizes(target):
    problems = _of_all_kinds()
    check_guarded(problems[TARGETS.index(target) :: 6], target)


def test_sums_do_not_depend_on_who_does_them():
    for problem in _of_all_kinds()[::13]:
        check(problem)


def _along_an_axis() -> list[Problem]:
    found = []
    for shape, axis, images in (
        ((3, 4, 5), 1, None), ((3, 5, 37), -1, None), ((3, 70), 1, None), ((2, 1, 3), 1, None),
        ((5, 19), 0, ()), ((40,), 0, ()),
    ):  # fmt: skip
        x = np.random.default_rng(shape).uniform(0.5, 1.5, shape)
        g, whole = _normal(shape), np.random.default_rng(3).integers(-3, 3, shape).astype("int32")
        attrs, more = {"axis": axis}, {"images": images}
        found += [
            Problem(name, (array,), attrs, **more) for name in ("argmax", "argmin") for array in (g, whole)
        ]
        found += [
            Problem("cumsum", (g,), attrs, terms=x.size, **more),
            Problem("cumsum", (g,), {**attrs, "reverse": True}, terms=x.size, **more),
            Problem("cumsum", (whole,), attrs, **more),
            Problem("cumprod", (x,), attrs, terms=x.size, **more),
            Problem("cumprod_grad", (g, x), attrs, terms=2 * x.size, **more),
        ]
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_what_goes_along_an_axis(target):
    check_guarded(_along_an_axis(), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("operator", ["argmax", "argmin"])
def test_the_first_extreme_and_the_first_nan_are_found(operator, target):
    x = np.random.default_rng(0).integers(0, 4, (6, 50)).astype("float32")
    x[1, [7, 40]] = np.nan
    x[2], x[3] = -np.inf, np.inf
    for problem in (
        Problem(operator, (x,), {"axis": 1}),
        Problem(operator, (x[:, :, None] + [0, 0],), {"axis": 1}),
    ):
        check(problem, target)


def test_the_gradient_of_a_mean_over_images_follows_their_number():
    """It divides by a number that nothing but the run tells: not one to compute once."""
    builder = ProgramBuilder()
    x = builder.input("x", (None, 3))
    loss = builder.add("reduce_mean", x, axes=(0, 1))
    grads = add_gradients(builder, loss, also=(x,))
    builder.outputs = {"dx": grads["x"].name}
    executable = CpuExecutable(builder.build(), {})
    for images in (4, 8, 2):
        dx = executable.run({"x": np.ones((images, 3), "float32")})["dx"]
        np.testing.assert_allclose(dx, np.full((images, 3), 1 / (3 * images)), rtol=1e-6)
