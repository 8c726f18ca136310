"""Layer normalisation with what follows it in one pass: where that is done, values, borders of buffers."""

import numpy as np
import pytest

from kernelearn.engine.cpu import schedule
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.kernels.normalization.images import NormalizeParts
from kernelearn.engine.cpu.plan import Call
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.operators.table import REQUIRED, Operator
from kernelearn.engine.program import ProgramBuilder
from tests.engine.cpu.harness import TARGETS, Bench, Problem, check, check_guarded
from tests.engine.cpu.memory import needs_guard_pages
from tests.engine.cpu.random_problems import normal

guarded = pytest.mark.skipif(not needs_guard_pages, reason="no fork and mprotect on this system")
CHAIN = "normalize_affine_activation_add"
SHAPES = ((3, 4, 5, 48), (2, 7, 19), (4, 33), (1, 3, 2, 2, 5), (3, 4, 1, 2), (2, 9, 10, 131))


def run_chain(x, gamma, beta, other, *, axes):
    """What the chain is, one operator after another."""
    y = OPERATORS["normalize"].run(x, axes=axes, epsilon=1e-3)[0]
    y = OPERATORS["activation"].run(OPERATORS["affine"].run(y, gamma, beta), kind="relu")
    return OPERATORS["add"].run(y, other)


class ChainBench(Bench):
    """The operators of the chain as a program, for the rewrites to join."""

    def _build(self, graph):
        names = [f"x{i}" for i in range(4)]
        self.inputs = dict(zip(names, self.narrow))
        rank = self.narrow[0].ndim
        shapes = [(None, *a.shape[1:]) if a.ndim == rank else a.shape for a in self.narrow]
        x, gamma, beta, other = (graph.input(name, shape) for name, shape in zip(names, shapes))
        y = graph.add("normalize", x, axes=self.problem.attrs["axes"], epsilon=1e-3)[0]
        y = graph.add("activation", graph.add("affine", y, gamma, beta), kind="relu")
        graph.outputs = {"y0": graph.add("add", y, other).name}
        return ["y0"]


@pytest.fixture(autouse=True)
def chain(monkeypatch):
    made = Operator(CHAIN, lambda *a, **k: (), run_chain, attrs={"axes": REQUIRED})
    monkeypatch.setitem(OPERATORS, CHAIN, made)
    monkeypatch.setattr("tests.engine.cpu.harness.Bench", ChainBench)


def problem(shape: tuple[int, ...], axes: tuple[int, ...] | None = None) -> Problem:
    rng, c = np.random.default_rng(sum(shape)), shape[-1]
    arrays = (normal(rng, *shape) + 0.5, normal(rng, c), normal(rng, c), normal(rng, *shape))
    axes = (len(shape) - 1,) if axes is None else axes
    return Problem(CHAIN, arrays, {"axes": axes}, ulps=4096, images=(0, 3), weights=())


def normalisations(executable: CpuExecutable) -> list[NormalizeParts]:
    codes = [call.code for call in executable.calls() if isinstance(call, Call)]
    return [code for code in codes if isinstance(code, NormalizeParts)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_they_are_one_pass(shape, target):
    p = problem(shape)
    executable = ChainBench(p, target).executable
    assert len(executable.calls()) == 1
    assert normalisations(executable)[0].chain is not None
    check(p, target)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        *(((3, 4, 5, 6), axes) for axes in [(1, 2, 3), (1, 2), (0, 1, 2)]),
        *(((3, *sizes, 1), (len(sizes) + 1,)) for sizes in [(4, 5), (1, 1), (40,)]),
    ],
)
def test_other_axes_and_rows_of_one_number_keep_their_own_pass(shape, axes):
    p = problem(shape, axes)
    executable = ChainBench(p).executable
    assert all(code.chain is None for code in normalisations(executable))
    assert len([call for call in executable.calls() if call.operation.operator == "fused"]) == 1
    check(p)


def test_statistics_that_somebody_reads_are_written():
    g = ProgramBuilder()
    x = g.input("x", (None, 6, 8))
    y, mean, _ = g.add("normalize", x, axes=(2,), epsilon=1e-3)
    g.outputs = {"y": g.add("activation", y, kind="relu").name, "mean": mean.name}
    executable = CpuExecutable(g.build(), {})
    (code,) = normalisations(executable)
    assert code.chain is None
    values = normal(np.random.default_rng(0), 3, 6, 8)
    found = executable.run({"x": values})["mean"].reshape(3, 6)
    np.testing.assert_allclose(found, values.mean(-1), rtol=1e-5, atol=1e-6)


@guarded
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("few", [False, True])
def test_they_stay_inside_of_their_buffers(target, few, monkeypatch):
    monkeypatch.setattr(schedule, "are_few", lambda images, count: few)
    check_guarded([problem(shape) for shape in SHAPES], target)


def test_nan_stays_in_its_row():
    p = problem((2, 3, 20))
    p.arrays[0][1, 2, 7] = np.nan
    found = ChainBench(p).run()[0]
    assert np.isnan(found[1, 2]).all()
    assert np.isfinite(found[0]).all()
    assert np.isfinite(found[1, :2]).all()
