"""Convolutions whose windows' rows are filtered: where, that it is exact, its borders, and how it rounds."""

import itertools

import numpy as np
import pytest

import kernelearn
from kernelearn import layers
from kernelearn.engine.cpu.kernels.convolution.filtered_rows.forward import FilteredRows
from kernelearn.engine.cpu.kernels.convolution.filtered_rows.gradient import FilteredGradient
from kernelearn.engine.cpu.kernels.convolution.filtered_rows.windows import Lanes
from kernelearn.engine.cpu.plan import Call
from tests.engine.cpu.harness import Bench, Problem, check, expected, lose_a_product
from tests.engine.cpu.random_problems import normal
from tests.engine.cpu.test_convolutions import problem as any_problem
from tests.engine.cpu.test_winograd import PASSES, errors_of, problem, problem_like
from tests.engine.cpu.training import check_training, trained_steps
from tests.sweeps import some

VALID = ((0, 0), (0, 0))
# Kinds of windows: (arguments of `problem`, passes that filter them).
KINDS = {
    "5 x 5": ({"sizes": (13, 13), "kernel": 5, "channels": 32, "filters": 40}, PASSES),
    "4 x 4, even rows": ({"sizes": (9, 16), "kernel": 4, "channels": 32, "filters": 33}, PASSES),
    "7 x 7, in pieces": ({"sizes": (9, 15), "kernel": 7, "channels": 24, "filters": 40}, PASSES),
    "cropped": (
        {"sizes": (11, 16), "kernel": 5, "channels": 24, "filters": 24, "padding": ((2, -1), (-1, 0))},
        ("conv", "conv_grad_kernel"),
    ),
    "rows with holes": (
        {"sizes": (15, 15), "kernel": 5, "channels": 24, "filters": 27, "dilation": (2, 1)},
        PASSES,
    ),
    "11 x 11, steps of 4": (
        {"sizes": (43, 47), "kernel": 11, "channels": 3, "filters": 48, "stride": (4, 4), "padding": VALID},
        ("conv", "conv_grad_kernel"),
    ),
    "7 x 7, steps of 2, a place short of a tap": (
        {"sizes": (22, 31), "kernel": 7, "channels": 12, "filters": 32, "stride": (1, 2)},
        ("conv",),
    ),
}
FILTERED = [(operator, kind) for kind, (_, passes) in KINDS.items() for operator in passes]


def is_used(p: Problem) -> bool:
    codes = [c.code for c in Bench(p).executable.calls() if isinstance(c, Call)]
    return any(isinstance(code, FilteredRows | FilteredGradient) for code in codes)


@pytest.mark.parametrize(
    ("start", "taps", "pieces"),
    [(0, 5, (5,)), (0, 4, (4,)), (0, 3, (3,)), (1, 3, (4,)), (0, 2, (3,)), (1, 1, (3,)), (0, 5, (3, 2))],
)
def test_filterings_are_exact(start, taps, pieces):
    f = Lanes(0, 1, start, taps, pieces).filter
    inputs, weights, outputs = (np.array(m.matrix) for m in (f.inputs, f.taps, f.outputs))
    found = np.einsum("op,pt,pi->oti", outputs, weights, inputs)
    for output, tap in itertools.product(range(2), range(taps)):
        assert found[output, tap] == pytest.approx(np.eye(sum(pieces) + 1)[output + start + tap], abs=1e-12)
    # Each output's products are of inputs of its own window.
    for output in range(2):
        met = np.abs(inputs[outputs[output] != 0]).sum(0) > 0
        assert not met[:output].any() and not met[output + start + taps :].any()


@pytest.mark.parametrize(("operator", "kind"), FILTERED)
def test_all_kinds(operator, kind):
    p = problem(operator, **KINDS[kind][0])
    assert is_used(p)
    check(p)


@pytest.mark.parametrize(
    "changed",
    [{"channels": 6}, {"filters": 9}, {"kernel": 3}, {"sizes": (6, 3)}, {"dilation": (1, 2)}, {"groups": 2}],
    ids=str,
)
def test_it_is_not_used_where_it_saves_nothing(changed):
    given = {**KINDS["5 x 5"][0], **changed}
    p = problem("conv", **given)
    if changed.get("groups"):
        p = problem_like(p, p.arrays[0], p.arrays[1][:, :, :16])
    assert not is_used(p)


@pytest.mark.parametrize("operator", PASSES)
def test_it_is_not_used_where_the_only_plane_is_not_met(operator):
    """A tap in front of the plane, which steps of two never bring to it, sees zeros alone."""
    options = {"channels": 32, "filters": 40, "stride": (2, 1, 1)}
    for before in (0, 1):
        padding = ((before, 1 - before), (2, 2), (2, 2))
        p = any_problem(operator, (1, 13, 13), (1, 5, 5), padding=padding, **options)
        assert is_used(p) == (before == 0)


def test_it_is_not_used_for_kernel_gradients_of_few_terms():
    """Weights of neighbouring taps share their products, and the rounding of these."""
    for rows, is_filtered in ((5, False), (7, True)):
        assert is_used(problem("conv_grad_kernel", (rows, 10), kernel=5, padding=VALID)) == is_filtered


def test_an_environment_variable_forbids_it(monkeypatch):
    monkeypatch.setenv("KERNELEARN_WINOGRAD", "0")
    assert not is_used(problem("conv", **KINDS["5 x 5"][0]))


@pytest.mark.parametrize(("operator", "kind"), some(FILTERED, quick=FILTERED[::4]))
def test_it_rounds_about_as_sums_tap_by_tap(operator, kind, monkeypatch):
    """Sums of many channels even less: long sums of taps round more than the transforms."""
    p = problem(operator, **{**KINDS[kind][0], "images": 8})
    filtered, taps = errors_of(p, monkeypatch)
    assert filtered < 1.3 * taps


@pytest.mark.parametrize("kind", ["5 x 5", "11 x 11, steps of 4"])
def test_an_output_depends_on_its_own_window_only(kind):
    p = problem("conv", images=1, **KINDS[kind][0])
    x, kernel = p.arrays
    before = Bench(p).run()[0]
    for row, column in ((6, 6), (11, 12), (11, 11)):
        changed = x.copy()
        changed[0, row, column] = np.nan
        touched = np.isnan(expected(p, (changed, kernel))[0])
        after = Bench(problem_like(p, changed, kernel)).run()[0]
        np.testing.assert_array_equal(np.isnan(after), touched)
        np.testing.assert_array_equal(after[~touched], before[~touched])


@pytest.mark.parametrize("operator", PASSES)
def test_a_lost_product_is_caught(operator):
    with pytest.raises(AssertionError, match="entries are off"):
        check(problem(operator, **KINDS["5 x 5"][0]), change=lose_a_product())


def network(engine: str):
    """Large windows with steps, and in front of a pooling, among other layers."""
    kernelearn.set_random_seed(0)
    steps = [layers.Conv2D(32, 11, strides=4, activation="tanh"), layers.BatchNormalization()]
    pooled = [layers.Conv2D(32, 5, padding="same", activation="relu"), layers.MaxPooling2D(2)]
    last = [layers.Conv2D(24, 4, padding="same"), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    model = kernelearn.Sequential([layers.Input((35, 39, 3)), *steps, *pooled, *last])
    model.compile(kernelearn.optimizers.SGD(0.1), "mse", engine=engine)
    return model


def test_a_network_trains_as_the_reference():
    x, y = normal(np.random.default_rng(1), 5, 35, 39, 3), np.zeros((5, 2))
    check_training(lambda engine: trained_steps(network(engine), x, y, 2))
