"""Steps that are cut in two: the same numbers as one run, on borrowed memory, with any passes in between."""

import numpy as np
import pytest

from kernelearn.engine.backends import prepare
from kernelearn.engine.cpu.cut import MOST_FRAMES, MOST_SIZES, CutStep, add_backward
from kernelearn.engine.cpu.places import address_of
from kernelearn.engine.gradients import add_gradients_of_many
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import KernelearnError

RNG = np.random.default_rng(0)
SHAPES = {"kernel": (3, 3, 2, 4), "row": (4,), "matrix": (4, 3)}
WEIGHTS = {name: RNG.standard_normal(shape).astype("float32") for name, shape in SHAPES.items()}


def network(builder):
    """Two results: a feature map and what is behind it."""
    x = builder.input("x", (None, 6, 6, 2))
    kernel, row, matrix = (builder.given_weight(name, shape) for name, shape in SHAPES.items())
    y = builder.add("conv", x, kernel, stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1)
    y = builder.add("activation", builder.add("bias_add", y, row), kind="relu")
    z = builder.add("dense", builder.add("reduce_mean", y, axes=(1, 2), keepdims=False), matrix)
    return y, z


def program(with_backward=True):
    builder = ProgramBuilder(training=True)
    y, z = network(builder)
    builder.outputs = {"y": y.name, "z": z.name}
    if with_backward:
        found = add_backward(builder, (y, z), ("tangent_y", "tangent_z"), ["x", *SHAPES])
        builder.outputs |= {f"grad/{name}": grad.name for name, grad in found.items()}
    return builder.build()


def batch(images):
    return {
        "x": RNG.standard_normal((images, 6, 6, 2)).astype("float32"),
        "tangent_y": RNG.standard_normal((images, 6, 6, 4)).astype("float32"),
        "tangent_z": RNG.standard_normal((images, 3)).astype("float32"),
    }


def expected(whole, arrays):
    """The reference engine's numbers, of the same program."""
    weights = {b.name: _Holder(WEIGHTS[b.name]) for b in whole.weights()}
    return prepare(whole, weights, "reference").run(arrays)


class _Holder:
    """What the reference engine wants of a `Variable`."""

    def __init__(self, value):
        self.value = self.memory = value
        self.version = 0


class Pass:
    """One pass through a cut step, on arrays of its own."""

    def __init__(self, step, images, count=2):
        self.step, self.frame, self.arrays = step, step.frame(images, count), batch(images)
        self.results = {}
        for label, name in step.program.outputs.items():
            shape = tuple(images if s is None else s for s in step.program.buffers[name].shape)
            self.results[label] = np.full(shape, np.nan, "float32")

    def point(self, weights=WEIGHTS):
        places = {**weights, **self.arrays}
        places |= {self.step.program.outputs[label]: array for label, array in self.results.items()}
        for name, array in places.items():
            if (number := self.step.number(name)) is not None:
                self.frame.addresses[number] = address_of(array)

    def forward(self):
        self.point()
        self.frame.forward()

    def backward(self):
        self.point()
        self.frame.backward()
        self.step.release(self.frame)

    def check(self):
        for label, array in expected(self.step.program, self.arrays).items():
            np.testing.assert_allclose(self.results[label], array, rtol=2e-4, atol=2e-5, err_msg=label)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("images", [1, 3, 9])
def test_both_parts_together_are_the_whole_program(images, count):
    done = Pass(CutStep(program()), images, count)
    done.forward()
    assert np.isfinite(done.results["y"]).all() and np.isnan(done.results["grad/row"]).all()
    done.backward()
    done.check()


def test_passes_wait_for_their_backward_part_in_any_number():
    step = CutStep(program())
    passes = [Pass(step, images) for images in (4, 4, 7, 4, 4)]
    for each in passes:
        each.forward()
    for each in reversed(passes):
        each.backward()
        each.check()
    assert len(step._free[4, 2]) == MOST_FRAMES


def test_frames_are_used_again_and_their_number_is_bounded():
    step = CutStep(program())
    first = step.frame(4, 1)
    step.release(first)
    assert step.frame(4, 1) is first
    for images in range(1, 2 * MOST_SIZES):
        step.release(step.frame(images, 1))
    assert len(step._free) == MOST_SIZES
    step.release(first)  # of a size that is forgotten


def test_a_forward_part_alone():
    step = CutStep(program(with_backward=False))
    assert step.read_later == frozenset()
    done = Pass(step, 5)
    done.forward()
    done.check()


def test_what_the_backward_part_touches_is_known():
    step = CutStep(program())
    later = {step.names[number] for number in step.read_later}
    assert {"x", "matrix", "tangent_y", "tangent_z"} <= later
    assert "row" not in later


def test_constants_are_computed_when_told():
    step = CutStep(program(with_backward=False), keeps_constants=True)
    done = Pass(step, 3)
    done.point()
    done.frame.constants()
    done.frame.forward()
    done.check()
    before = done.results["z"].copy()
    changed = {**WEIGHTS, "kernel": WEIGHTS["kernel"] * 2}
    done.point(changed)
    done.frame.constants()
    done.frame.forward()
    assert abs(done.results["z"] - before).max() > 1e-3


def test_results_that_share_memory_are_refused():
    builder = ProgramBuilder()
    y, _ = network(builder)
    flat = builder.add("reshape", y, shape=(None, 144))
    builder.outputs = {"y": y.name, "flat": flat.name}
    with pytest.raises(KernelearnError, match="share memory"):
        CutStep(builder.build())
    builder.outputs = {"x": "x"}
    with pytest.raises(KernelearnError, match="share memory"):
        CutStep(builder.build())


def test_operations_without_kernels_are_refused():
    builder = ProgramBuilder()
    x = builder.input("x", (None, 3))
    builder.outputs = {"y": builder.add("argsort", x, axis=1).name}
    with pytest.raises(KernelearnError, match="argsort"):
        CutStep(builder.build())


def test_gradients_of_many_values_add_up():
    builder = ProgramBuilder(dtype="float64")
    x = builder.input("x", (None, 3))
    twice, square = builder.add("scale", x, factor=2.0), builder.add("multiply", x, x)
    seeds = [(value, builder.input(f"d{i}", (None, 3))) for i, value in enumerate((twice, square, twice))]
    found = add_gradients_of_many(builder, seeds, {"x"})
    builder.outputs = {"grad": found["x"].name}
    arrays = {name: RNG.standard_normal((2, 3)) for name in ("x", "d0", "d1", "d2")}
    grad = prepare(builder.build(), {}, "reference").run(arrays)["grad"]
    np.testing.assert_allclose(grad, 2 * (arrays["d0"] + arrays["d2"]) + 2 * arrays["x"] * arrays["d1"])


def test_an_input_may_be_called_like_an_operator():
    """The next operation of that name gets another one."""
    builder = ProgramBuilder()
    x = builder.input("add", (None, 3))
    y = builder.add("add", x, x)
    builder.outputs = {"y": y.name}
    assert y.name == "add_2"
    run = prepare(builder.build(), {}, "reference").run({"add": np.ones((2, 3), "float32")})
    np.testing.assert_array_equal(run["y"], 2.0)
