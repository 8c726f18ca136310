"""Forward and back through thirty networks: sums of products are the engine's numbers, every error is the sum
over what reads it, and both are what a recorded step has.
"""

import itertools

import numpy as np
import pytest

from kernelearn import explain
from kernelearn.explain.passes.columns import columns_of
from kernelearn.explain.passes.replay import replay_training
from kernelearn.recording import Recorder, Run
from kernelearn.recording.factors import KINDS
from kernelearn.utils import set_random_seed
from tests.explain.networks import NETWORKS, network
from tests.sweeps import some

BOUNDS = {"float32": 1e-6, "float64": 1e-13}
IMAGES = 4
# Each unit is a pass of the network: one between the first and the last, and more in the slow sweeps.
BETWEEN = pytest.mark.parametrize("between", some([1, 3], quick=[1]))


def opened(name, dtype):
    """(model, images, classes) of a network."""
    set_random_seed(0)
    model = network(name, dtype)
    rng = np.random.default_rng(1)
    return model, rng.normal(size=(IMAGES, *NETWORKS[name][0])), np.arange(IMAGES) % 3


def layers_of(replay):
    """Layers with sums of products, and the shape of these for one image."""
    found = [op for op in replay.program.operations if op.phase == "forward" and op.operator in KINDS]
    return {op.layer: replay.value(op.outputs[0]).shape[1:] for op in found}


def some_units(shape, rng, between):
    """The first and the last, and some between."""
    others = [tuple(int(i) for i in rng.integers(0, shape)) for _ in range(between)]
    return [(0,) * len(shape), tuple(n - 1 for n in shape), *others]


# Each network in one of the float types, each float type with half of them.
PAIRS = list(zip(NETWORKS, itertools.cycle(BOUNDS)))


@BETWEEN
@pytest.mark.parametrize(("name", "dtype"), some(itertools.product(NETWORKS, BOUNDS), quick=PAIRS))
def test_the_terms_of_any_unit_sum_to_the_engines_number(name, dtype, between):
    model, x, y = opened(name, dtype)
    rng = np.random.default_rng(2)
    for layer, shape in layers_of(replay_training(model, x, y)).items():
        for unit in some_units(shape, rng, between):
            found = explain.unit(model, layer, unit[-1], unit[:-1], x[0])
            assert found.relative_residual < BOUNDS[dtype]
            scale = max(1.0, float(np.abs(found.map).max()))
            assert all(abs(stage.residual) < 30 * BOUNDS[dtype] * scale for stage in found.stages)


@BETWEEN
@pytest.mark.parametrize("name", some(NETWORKS, quick=len(NETWORKS) // 2))
def test_the_error_of_any_unit_is_followed_to_the_loss(name, between):
    model, x, y = opened(name, "float64")
    replay = replay_training(model, x, y)
    rng = np.random.default_rng(3)
    for layer, shape in layers_of(replay).items():
        recorded = replay.gradient(replay.units_of(layer).outputs[0])
        for unit in some_units(shape, rng, between):
            row = int(rng.integers(IMAGES))
            path = explain.delta(model, layer, x, y, unit[-1], unit[:-1], row)
            assert path.error == recorded[(row, *unit)]
            assert path.residual < BOUNDS["float64"]
            assert path.is_cut or path.hops[-1].end is not None


@pytest.mark.parametrize("name", NETWORKS)
def test_columns_hold_what_the_engine_has_in_both_directions(name):
    model, x, y = opened(name, "float64")
    replay = replay_training(model, x, y)
    for layer in layers_of(replay):
        found = columns_of(replay, layer, [2, 0])
        assert found.residual < BOUNDS["float64"] and found.columns[0].key == "z"
        keys = [column.key for column in found.columns]
        assert len(set(keys)) == len(keys)
        for column in found.columns:
            assert (
                column.values.shape[0] == 2 and column.values.shape[-1] == found.columns[0].values.shape[-1]
            )
            if column.opens is not None and column.errors is not None:
                assert (column.errors[~column.opens] == 0).all()
        op = replay.units_of(layer)
        np.testing.assert_array_equal(found.columns[0].errors[1], replay.gradient(op.outputs[0])[0])


@pytest.mark.parametrize(
    "name", ["2-D", "normalised", "residual", "dropped out", "branches", "1-D transposed"]
)
def test_paths_of_a_recorded_step_equal_its_record(name, tmp_path):
    model, x, y = opened(name, "float32")
    model.fit(
        x,
        y,
        batch_size=2,
        epochs=2,
        verbose=0,
        seed=0,
        callbacks=[Recorder(tmp_path / "run", ledger_every=1)],
    )
    run = Run(tmp_path / "run")
    for layer in run.layers:
        kernel = run.about.kernel_name(layer)
        if kernel is None:
            continue
        shape = run.ledger(layer, 2, kernel).parts[0].delta.shape[1:]
        path = explain.delta(run, layer, x.astype("float32"), y, filter=shape[-1] - 1, step=2)
        assert path.recorded == pytest.approx(path.error, rel=1e-4, abs=1e-7)
        assert path.residual < 1e-5
