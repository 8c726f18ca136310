"""The own layers and losses that are timed do what the built-in ones do."""

from types import SimpleNamespace

import numpy as np
import pytest

import kernelearn as kl
from kernelearn.bench import bursts, report
from kernelearn.bench.interleave import Rounds
from kernelearn.bench.sections import own_code
from kernelearn.bench.suite import Ceilings


@pytest.mark.parametrize("name", own_code.PAIRS)
def test_both_of_a_pair_train_alike(name):
    losses = []
    for make in own_code.PAIRS[name]:
        kl.set_random_seed(3)
        step = own_code._step_of(make())
        losses.append([float(np.ravel(step())[0]) for _ in range(2)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-3)


def test_rows_and_their_table(monkeypatch):
    monkeypatch.setattr(own_code, "PAIRS", {"GELU": own_code.PAIRS["softmax cross-entropy"]})
    monkeypatch.setattr(bursts, "BURST", 0.001)
    monkeypatch.setattr(own_code, "TRACES", 1)
    rows = own_code.run(SimpleNamespace(settings=SimpleNamespace(plan=Rounds(1, 0.01), threads=1), say=str))
    pair, twin = rows
    assert pair["what"] == "GELU" and min(pair["built_in"], pair["own"], pair["ratio"], twin["trace"]) > 0
    (table,) = report._own_code(rows, Ceilings())
    assert table.rows[0][0] == "GELU" and len(table.rows[0]) == len(table.columns) == 4
    assert table.notes[0].startswith("tracing of LeNet")
