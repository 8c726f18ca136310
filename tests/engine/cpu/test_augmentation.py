"""Mirroring, cropping, contrast and warping on the CPU engine, against the float64 reference."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, layers, set_num_threads
from kernelearn.engine.cpu.plan import Fallback
from kernelearn.engine.reference.images import augmentation as reference
from kernelearn.utils import set_random_seed
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded, check_special
from tests.engine.cpu.memory import needs_guard_pages
from tests.rounding import gamma

guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
SHAPES = [(5, 4, 3), (1, 1, 1), (7, 16, 1), (6, 35, 1), (3, 9, 17), (2, 3, 70), (11, 5), (3, 4, 5, 2)]
FILLS = [("constant", 0.0), ("constant", 0.75), ("nearest", 0.0), ("wrap", 0.0), ("reflect", 0.0)]
INTERPOLATIONS = ("nearest", "bilinear")
# Kind of map -> ranges, wide enough to leave the image.
KINDS = {
    "rotation": ((-0.5, 0.5),),
    "translation": ((-1.5, 1.5), (-0.6, 2.5)),
    "zoom": ((0.3, 2.5), (0.5, 1.8)),
}


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape).astype("float32")


def draws(n: int, count: int, seed: int = 0) -> np.ndarray:
    """Uniform numbers, with the ends of the range and the middle among them."""
    found = np.random.default_rng((seed, n, count)).random((n, count)).astype("float32")
    ends = np.array([0.0, 0.5, np.nextafter(np.float32(1), np.float32(0)), np.float32(0.50000006)], "f")
    found[: min(n, 4), 0] = ends[: min(n, 4)]
    return found


def exact(operator: str, *arrays, **attrs) -> Problem:
    return Problem(operator, arrays, attrs, ulps=0.0)


# --- mirroring and cropping: nothing is computed


def flips(shape) -> list[Problem]:
    rank = len(shape) - 1
    choices = [(axis,) for axis in range(1, rank + 1)] + [tuple(range(1, rank + 1)), (rank, 1)]
    return [
        exact("flip", normal(6, *shape), draws(6, len(axes)), axes=axes)
        for axes in choices
        if len(set(axes)) == len(axes)
    ]


def crops(shape) -> list[Problem]:
    *sizes, channels = shape
    found = []
    for wanted in (sizes, [1] * len(sizes), [max(s - 1, 1) for s in sizes], [-(-s // 2) for s in sizes]):
        size, draw = tuple(wanted), draws(6, len(sizes), seed=1)
        found.append(exact("crop", normal(6, *shape), draw, size=size))
        grad = normal(6, *size, channels)
        found.append(exact("crop_grad", grad, draw, size=size, input_size=tuple(sizes)))
    return found


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_mirroring_and_cropping_are_exact(shape, target):
    for problem in (*flips(shape), *crops(shape)):
        check(problem, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_mirroring_and_cropping_stay_within_their_buffers(target):
    check_guarded([p for shape in SHAPES for p in (*flips(shape), *crops(shape))], target)


@guarded
@pytest.mark.parametrize("draw", [np.nan, -3.0, 1e30])
def test_a_crop_by_a_bad_draw_stays_within_the_image(draw):
    """No draw is like this; a kernel must not read elsewhere for it: it takes the first or last window."""
    x = normal(2, 5, 6, 3)
    (y,) = Bench(Problem("crop", (x, np.full((2, 2), draw)), {"size": (2, 3)})).run()
    start = 0 if draw < 0 else 3
    np.testing.assert_array_equal(y, x[:, start : start + 2, start : start + 3])


def test_bits_of_nan_and_signed_zeros_are_kept():
    x = normal(2, 4, 9, 1)
    x[0, 1, 2], x[1, 3, 8] = np.nan, -0.0
    bench = Bench(Problem("flip", (x, np.zeros((2, 2))), {"axes": (1, 2)}))
    wanted = np.ascontiguousarray(x[:, ::-1, ::-1])
    np.testing.assert_array_equal(bench.run()[0].view("int32"), wanted.view("int32"))


# --- contrast


def contrasts(shape, value_range=(-0.8, 0.9)) -> list[Problem]:
    attrs = {"low": 0.5, "high": 1.7, "value_range": value_range}
    x, g, draw = normal(5, *shape), normal(5, *shape)[::-1], draws(5, 1)
    ulps = 32.0 + np.prod(shape[:-1])
    return [
        Problem("contrast", (x, draw), attrs, ulps=ulps),
        Problem("contrast_grad", (g, x, draw), attrs, ulps=ulps),
    ]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [*SHAPES, (40, 50, 3), (60, 41, 1)], ids=str)
def test_contrast_agrees_with_the_reference(shape, target):
    for value_range in ((-0.8, 0.9), (0.0, 255.0)):
        for problem in contrasts(shape, value_range):
            check(problem, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_contrast_stays_within_its_buffers(target):
    check_guarded([p for shape in SHAPES for p in contrasts(shape)], target)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7, 1), (3, 3, 19)], ids=str)
def test_contrast_does_not_hide_nan_and_infinity(shape, bad):
    for problem in contrasts(shape):
        arrays = [np.array(a) for a in problem.arrays]
        arrays[0][2, 1, 2, 0] = bad
        check_special(Problem(problem.operator, tuple(arrays), problem.attrs))


# --- maps and warping


def maps_problem(kind: str, columns: int, size) -> Problem:
    ranges = KINDS[kind][:columns]
    attrs = {"kind": kind, "ranges": ranges}
    largest = 8 * (1 + max(size))

    def bound(inputs, wide):
        return [np.full(e.shape, largest * 2.0**-52) for e in wide]

    return Problem("affine_map", (normal(7, *size, 1), draws(7, columns)), attrs, bound=bound)


MAPS = [("rotation", 1), ("translation", 2), ("zoom", 2), ("zoom", 1)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("kind", "columns"), MAPS)
def test_maps_are_those_of_the_reference_to_the_last_digits(kind, columns, target):
    for size in [(5, 4), (1, 1), (28, 28), (224, 200)]:
        check(maps_problem(kind, columns, size), target)


def test_rotations_of_any_angle():
    turns = np.linspace(-3, 3, 241)
    problem = Problem("affine_map", (np.ones((241, 1, 1, 1)), turns[:, None]), {})
    attrs = {"kind": "rotation", "ranges": ((0.0, 1.0),)}
    (maps,) = Bench(Problem(problem.operator, problem.arrays, attrs)).run()
    angle = 2 * np.pi * turns.astype("float32").astype(float)
    np.testing.assert_allclose(maps[:, 0, 0], np.cos(angle), rtol=0, atol=4e-15)
    np.testing.assert_allclose(maps[:, 1, 0], -np.sin(angle), rtol=0, atol=4e-15)
    np.testing.assert_array_equal(maps[turns == 0], [[[1, 0, 0], [0, 1, 0]]])


def warps(shape, kind: str, fill, interpolation: str, n: int = 4) -> list[Problem]:
    height, width, _ = shape
    ranges = KINDS[kind]
    x = normal(n, *shape)
    maps = reference.affine_map(x, draws(n, len(ranges)), kind=kind, ranges=ranges)
    attrs = {"fill_mode": fill[0], "fill_value": fill[1], "interpolation": interpolation}

    def read(inputs, wide):
        positive = {**attrs, "fill_value": abs(fill[1])}
        return [gamma(8) * reference.warp(np.abs(inputs[0]), inputs[1], **positive) + 1e-30]

    def spread(inputs, wide):
        # Near an edge the weights of all pixels may come together in one.
        terms = 4 * height * width + 2
        return [gamma(terms) * reference.warp_grad(np.abs(inputs[0]), inputs[1], **attrs) + 1e-30]

    return [
        Problem("warp", (x, maps), attrs, bound=read),
        Problem("warp_grad", (x, maps), attrs, bound=spread),
    ]


WARPED = [(5, 4, 2), (1, 1, 1), (9, 13, 1), (4, 3, 19), (3, 17, 3), (2, 37, 4), (2, 7, 70)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("fill", FILLS, ids=str)
def test_warping_agrees_with_the_reference(fill, interpolation, target):
    for kind in KINDS:
        for shape in WARPED:
            for problem in warps(shape, kind, fill, interpolation):
                check(problem, target)


@guarded
@pytest.mark.parametrize("target", TARGETS)
def test_warping_stays_within_its_buffers(target):
    problems = [maps_problem(kind, columns, (5, 4)) for kind, columns in MAPS]
    for fill in FILLS:
        for shape in WARPED[:6]:
            for kind in KINDS:
                problems += warps(shape, kind, fill, "bilinear")
            problems += warps(shape, "rotation", fill, "nearest")
    check_guarded(problems, target)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("fill", FILLS, ids=str)
def test_warping_does_not_hide_nan_and_infinity(fill, bad):
    for shape in [(5, 4, 2), (4, 3, 19)]:
        for problem in warps(shape, "rotation", fill, "bilinear"):
            x = np.array(problem.arrays[0])
            x[1, 2, 2, 0] = x[2, 0, 0, 1] = bad
            check_special(Problem(problem.operator, (x, problem.arrays[1]), problem.attrs))


@guarded
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("fill", [f for f in FILLS if f[0] in ("constant", "nearest")], ids=str)
def test_places_far_away_are_outside(fill, interpolation):
    x = normal(4, 5, 6, 3)
    maps = np.tile(np.eye(2, 3), (4, 1, 1))
    maps[:, 0, 2], maps[:, 1, 2] = [1e12, -1e12, 1e30, 7.0], [3.0, 1e25, -1e30, -1e14]
    attrs = {"fill_mode": fill[0], "fill_value": fill[1], "interpolation": interpolation}
    wide = reference.warp(x, np.clip(maps, -(2**29), 2**29), **attrs)
    found = Bench(Problem("warp", (x, maps), attrs)).run()
    np.testing.assert_allclose(found[0], wide, atol=1e-6)


@pytest.mark.parametrize("fill", FILLS, ids=str)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_gradient_is_the_adjoint(fill, interpolation):
    forward, back = warps((6, 5, 3), "rotation", (fill[0], 0.0), interpolation)
    x, grad = forward.arrays[0].astype(float), normal(4, 6, 5, 3)[::-1].astype(float)
    (y,) = Bench(forward).run()
    (dx,) = Bench(Problem("warp_grad", (grad, back.arrays[1]), back.attrs)).run()
    np.testing.assert_allclose((y * grad).sum(), (x * dx).sum(), rtol=1e-5)


# --- together


def augmented(engine: str) -> Sequential:
    model = Sequential(
        [
            Input((16, 12, 3)),
            layers.Resizing(20, 14),
            layers.RandomFlip("horizontal_and_vertical", seed=1),
            layers.RandomRotation(0.2, seed=2),
            layers.RandomTranslation(0.2, 0.3, seed=3),
            layers.RandomZoom(0.3, seed=4),
            layers.RandomContrast(0.4, value_range=(-2.0, 2.0), seed=5),
            layers.RandomCrop(13, 11, seed=6),
            layers.Conv2D(4, 3, activation="relu"),
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.Conv2D(5, 3, use_bias=False),
            layers.Softmax(axis=1),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    model.compile("sgd", "categorical_hinge", engine=engine)
    return model


def test_a_step_with_augmentation_is_all_native_and_as_on_the_reference_engine():
    x, y = normal(6, 16, 12, 3), np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2]]
    model, other = augmented("cpu"), augmented("reference")
    start = model.get_weights()
    other.set_weights(start)
    losses = []
    for each in (model, other):
        set_random_seed(4)
        losses.append([np.ravel(each.train_on_batch(x, y))[0] for _ in range(3)])
    np.testing.assert_allclose(*losses, rtol=1e-4)
    for before, a, b in zip(start, model.get_weights(), other.get_weights()):
        assert np.abs(a - before).max() > 1e-5
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    calls = model.step("train").executable.calls()
    assert [c.operation.operator for c in calls if isinstance(c, Fallback)] == []


def test_weights_are_the_same_for_any_number_of_threads():
    x, y = normal(7, 16, 12, 3), np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2, 1]]
    start, results = None, []
    try:
        for threads in (1, 3):
            set_num_threads(threads)
            model = augmented("cpu")
            start = start or model.get_weights()
            model.set_weights(start)
            set_random_seed(4)
            for _ in range(2):
                model.train_on_batch(x, y)
            results.append(model.get_weights())
    finally:
        set_num_threads(None)
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)
