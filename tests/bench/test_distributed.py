"""The section "distributed": the model of an exchange, its fit, and two real processes."""

import itertools

import numpy as np
import pytest

from kernelearn.bench import figure, report
from kernelearn.bench.interleave import Rounds
from kernelearn.bench.sections import distributed
from kernelearn.bench.sections.distributed import Cost, fitted
from kernelearn.bench.suite import Ceilings, Settings
from tests.parallel.mpi import needs_mpi

SIZES = [1_000, 50_000, 3_000_000]


class Bench:
    """What the section asks a bench for."""

    settings = Settings(nets=("lenet",), plan=Rounds(1, 0.01), quick=True, batches=(16,))

    def say(self, text):
        pass


@pytest.mark.parametrize("processes", [2, 5])
def test_the_fit_finds_the_cost_that_made_the_times(processes):
    cost = Cost(3e-5, 2e-10)
    found = fitted(SIZES, [cost.exchange(processes, size) for size in SIZES], processes)
    np.testing.assert_allclose([found.latency, found.per_byte], [3e-5, 2e-10], rtol=1e-6)


def test_no_cost_is_negative():
    found = fitted(SIZES, [1e-3, 1e-4, 1e-5])
    assert min(found.latency, found.per_byte) >= 0


def test_more_processes_are_less_efficient():
    shares = [Cost(1e-5, 1e-9).efficiency(p, 0.01, 10**6) for p in distributed.SIZES]
    assert all(0 < later < sooner < 1 for sooner, later in itertools.pairwise(shares))


def test_a_machine_with_all_cores_at_work_gains_nothing_from_more_processes():
    steps = [Cost(1e-5, 1e-10).on_one_machine(p, 1.0, 1.3, 10**6, 2) for p in (1, 2, 3, 4)]
    assert steps[0] == pytest.approx(1.0)
    assert steps[1] == pytest.approx(1.3 / 2, rel=1e-3)
    assert steps[1] <= min(steps[2:])


def test_points_and_curves_are_drawn():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    points, efficiency = [(1, 1.0, 1.0), (2, 0.6, 0.55)], {2: 0.9, 4: 0.8}
    axes = Figure().subplots(1, 2)
    figure.draw_processes(axes, [{"net": "lenet", "shards": 1.0, "points": points, "efficiency": efficiency}])
    drawn = [line.get_ydata() for line in axes[0].lines]
    np.testing.assert_allclose(drawn, [[1, 1 / 0.55], [1, 1 / 0.6]])
    np.testing.assert_allclose(axes[1].lines[0].get_ydata(), [90, 80])


@needs_mpi
def test_two_processes_are_measured_and_shown():
    rows = distributed.run(Bench())
    assert all(rows[0][kind] > 0 for kind in ("alone", "threads", "shards", "apart", "processes", "halves"))
    assert [processes for processes, *_ in rows[0]["points"]] == [1, 2]
    assert rows[-1].keys() == {"latency", "per_byte"}
    tables = report._MAKERS["distributed"](rows, Ceilings())
    assert [len(table.rows) for table in tables] == [1, 2, 2, 1]
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
