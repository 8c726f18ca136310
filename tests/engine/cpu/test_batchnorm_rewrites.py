"""The rewrites of batch normalisation: both programs give the same on the reference engine, in float64."""

import numpy as np
import pytest

from kernelearn.engine.backends import prepare
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.plan import Fallback
from kernelearn.engine.cpu.rewrites.normalization.batchnorm_gradient import split_gradient
from kernelearn.engine.cpu.rewrites.normalization.batchnorm_statistics import split_statistics
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.models import zoo
from kernelearn.training.steps.step_program import StepProgram
from kernelearn.utils import set_random_seed
from tests.engine.cpu.harness import TARGETS, UNIT_ROUNDOFF, forced_target

CHANNELS = 5
SIZES = (3, 2)


class Net:
    """A program under construction, and its weights."""

    def __init__(self, sizes=SIZES, dtype="float64"):
        self.graph = ProgramBuilder(training=True, dtype=dtype)
        self.dtype = dtype
        self.rng = np.random.default_rng(0)
        self.x = self.graph.input("x", (None, *sizes, CHANNELS))
        # Numbers that float32 holds exactly, so that programs of both types get the same.
        self.inputs = {"x": 3 + self.rng.integers(-64, 64, (4, *sizes, CHANNELS)) / 64}

    def weight(self, name, trainable=True, shape=(CHANNELS,)):
        variable = Variable((self.rng.integers(8, 24, shape) / 16).astype(self.dtype), name)
        return self.graph.variable(variable, trainable=trainable)

    def normalized(self, x, gamma=True, beta=True, trainable=True, name="bn", epsilon=1e-3):
        """A batch normalisation as its layer lowers it, with the update of a moving mean."""
        with self.graph.scope(name):
            y, mean, _ = self.graph.add("normalize", x, axes=tuple(range(len(x.shape) - 1)), epsilon=epsilon)
            state = self.graph.variable(Variable(np.zeros(CHANNELS, self.dtype), "moving"), role="state")
            self.graph.update("moving_average", (state, mean), (state,), momentum=0.9)
            if gamma and beta:
                scale, shift = self.weight("gamma", trainable), self.weight("beta", trainable)
                return self.graph.add("affine", y, scale, shift)
            if gamma:
                return self.graph.add("multiply", y, self.weight("gamma", trainable))
            return self.graph.add("add", y, self.weight("beta", trainable)) if beta else y

    def finish(self, y, also=True):
        """The program of a loss that weighs every number of y differently, and of all gradients."""
        target = self.graph.input("target", y.shape)
        weights = self.graph.input("weights", (None,))
        self.inputs["target"] = self.rng.integers(-64, 64, (4, *y.shape[1:])) / 64
        self.inputs["weights"] = self.rng.integers(1, 9, 4) / 8
        loss, _ = self.graph.add("loss", y, target, weights, kind="mean_squared_error")
        grads = add_gradients(self.graph, loss, also=(self.x,) if also else ())
        self.graph.outputs = {"loss": loss.name, "y": y.name, **{n: g.name for n, g in grads.items()}}
        return self.graph.build()

    def run(self, program):
        """What a run gives back, and the states after it."""
        for variable in self.graph.variables.values():
            if variable.name == "moving":
                variable.assign(np.zeros(CHANNELS))
        results = prepare(program, self.graph.variables, "reference").run(self.inputs)
        states = {n: v.numpy() for n, v in self.graph.variables.items() if v.name == "moving"}
        return {**results, **states}


def rewritten(program):
    for rewrite in (split_statistics, split_gradient):
        program = rewrite(program)
    return program


def operators(program):
    return [op.operator for op in program.operations]


def check_same(net, program):
    """Both programs agree; the rewritten one has no operation of the old kind left."""
    after = rewritten(program)
    expected, found = net.run(program), net.run(after)
    assert list(found) == list(expected)
    for name, value in expected.items():
        scale = np.abs(value).max(initial=1e-300)
        np.testing.assert_allclose(found[name], value, rtol=1e-11, atol=1e-12 * scale, err_msg=name)
    assert {g for g in after.gradients.values()} <= {n for op in after.operations for n in op.outputs}
    made = [n for op in after.operations for n in op.outputs if op.phase != "update"]
    assert len(made) == len(set(made)), "a buffer is written twice"
    return after


def check_order(program):
    """Every operation reads what exists."""
    known = {b.name for b in program.buffers.values() if b.role != "value"}
    for op in program.operations:
        assert set(op.inputs) <= known, str(op)
        known.update(op.outputs)


@pytest.mark.parametrize("also", [True, False], ids=["grad-x", "first-layer"])
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("beta", [True, False])
@pytest.mark.parametrize("gamma", [True, False])
@pytest.mark.parametrize("sizes", [SIZES, (), (4,)], ids=str)
def test_any_batch_normalization(sizes, gamma, beta, trainable, also):
    net = Net(sizes)
    y = net.graph.add("activation", net.normalized(net.x, gamma, beta, trainable), kind="tanh")
    after = check_same(net, net.finish(y, also))
    check_order(after)
    left = set(operators(after))
    assert "normalize" not in left and "normalize_grad" not in left
    assert ("batch_norm_grad_input" in left) == also


def test_nothing_of_the_old_backward_pass_is_left():
    net = Net()
    y = net.graph.add("activation", net.normalized(net.x), kind="tanh")
    after = check_same(net, net.finish(y))
    backward = [op.operator for op in after.operations if op.phase == "backward"]
    assert backward == [
        "fill",
        "loss_grad",
        "activation_grad",
        "batch_norm_sums",
        "batch_norm_coefficients",
        "batch_norm_grad_input",
    ]


def test_a_gradient_that_others_read_too():
    """Residual: the gradient of the sum goes on to the shortcut as it is."""
    net = Net()
    inner = net.graph.add("activation", net.x, kind="tanh")
    total = net.graph.add("add", net.normalized(inner), inner)
    after = check_same(net, net.finish(net.graph.add("activation", total, kind="tanh")))
    check_order(after)
    assert "sum_to" not in operators(after)


def test_two_normalizations_that_are_added():
    """Both get the same gradient, and each its own sums."""
    net = Net()
    scaled = net.graph.add("scale", net.x, factor=1.7)
    total = net.graph.add(
        "add", net.normalized(net.x, name="a"), net.normalized(scaled, name="b", epsilon=0.1)
    )
    after = check_same(net, net.finish(total))
    check_order(after)
    assert operators(after).count("batch_norm_sums") == 2
    assert "sum_to" not in operators(after)


def test_one_after_another():
    net = Net()
    x = net.x
    for i in range(3):
        x = net.graph.add("activation", net.normalized(x, beta=i != 1, name=f"bn{i}"), kind="tanh")
    check_order(check_same(net, net.finish(x)))


def test_normalised_values_that_are_used_elsewhere():
    net = Net()
    y = net.graph.add("normalize", net.x, axes=(0, 1, 2), epsilon=1e-3)[0]
    twice = net.graph.add("multiply", y, y)
    check_order(check_same(net, net.finish(net.graph.add("add", twice, y))))


@pytest.mark.parametrize("operator", ["normalize", "multiply", "sum_to", "normalize_grad", "affine"])
def test_what_a_run_gives_back_stays(operator):
    """Whatever is recorded is still computed, and equal."""
    net = Net()
    y = net.graph.add("activation", net.normalized(net.x), kind="tanh")
    program = net.finish(y)
    names = [n for op in program.operations if op.operator == operator for n in op.outputs]
    check_order(check_same(net, program.keeping(**{f"kept{i}": n for i, n in enumerate(names)})))


def test_programs_without_batch_normalization_are_left_alone():
    net = Net()
    y, _, _ = net.graph.add("normalize", net.x, axes=(1, 2, 3), epsilon=1e-3)
    program = net.finish(net.graph.add("affine", y, net.weight("gamma"), net.weight("beta")))
    assert rewritten(program) == program


def test_moving_statistics_are_not_split():
    """Inference, or a frozen layer: standardize by stored statistics stays what it is."""
    net = Net()
    mean, variance = (net.weight(name, trainable=False) for name in ("mean", "variance"))
    net.graph.variables["variance"].assign(np.ones(CHANNELS))
    y = net.graph.add("standardize", net.x, mean, variance, epsilon=1e-3)
    program = net.finish(net.graph.add("affine", y, net.weight("gamma"), net.weight("beta")))
    assert rewritten(program) == program


def test_the_forward_part_alone():
    net = Net()
    program = net.finish(net.normalized(net.x))
    after = split_statistics(program)
    for name, value in net.run(program).items():
        np.testing.assert_allclose(net.run(after)[name], value, rtol=1e-11, atol=1e-13)


def _residual(dtype):
    """Two layers and a shortcut, whose sum is normalised again."""
    net = Net(dtype=dtype)
    inner = net.graph.add("activation", net.normalized(net.x, name="a"), kind="tanh")
    total = net.graph.add("add", net.normalized(inner, name="b"), net.normalized(net.x, beta=False, name="c"))
    last = net.graph.add("activation", total, kind="relu")
    return net, net.finish(net.normalized(last, gamma=False, name="d"))


@pytest.mark.parametrize("target", TARGETS)
def test_the_compiled_program_agrees_with_float64(target):
    exact, program = _residual("float64")
    expected = exact.run(program)
    net, program = _residual("float32")
    with forced_target(target):
        executable = CpuExecutable(program, net.graph.variables)
    left = {c.operation.operator for c in executable.calls() if isinstance(c, Fallback)}
    assert left <= {"fill", "loss", "loss_grad"}
    found = executable.run(net.inputs)
    for name, value in expected.items():
        if name in found:
            error = np.abs(found[name] - value).max()
            assert error <= 200 * UNIT_ROUNDOFF * np.abs(value).max(), name


def test_a_whole_network_trains_alike():
    results = []
    rng = np.random.default_rng(0)
    x, y = rng.random((6, 12, 12, 3)).astype("f"), rng.integers(0, 4, 6)
    for change in (lambda program: program, rewritten):
        set_random_seed(1)
        model = zoo.resnet20((12, 12, 3), 4)
        model.compile("sgd", "sparse_categorical_crossentropy", engine="reference")
        model.program("train")
        executable = model.step("train").executable
        changed = type(executable)(change(executable.program), executable.variables)
        model.programs.put(StepProgram("train", changed))
        for _ in range(2):
            model.train_on_batch(x, y)
        results.append(model.get_weights())
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4 * max(np.abs(a).max(), 1e-3))
