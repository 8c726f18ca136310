"""The section "transfer": frozen layers cost no backward work, counted; its rows and its table."""

from types import SimpleNamespace

import pytest

from kernelearn.bench import bursts, report
from kernelearn.bench.interleave import Rounds
from kernelearn.bench.nets import find_net
from kernelearn.bench.nets.blueprint import save_weights
from kernelearn.bench.sections import transfer
from kernelearn.bench.suite import Ceilings


@pytest.fixture
def task(tmp_path):
    net = find_net("lenet")
    save_weights(net.build(), tmp_path / "lenet.npz")
    return {"net": "lenet", "batch": 2, "weights": str(tmp_path / "lenet.npz"), "optimizer": "sgd"}


def test_frozen_layers_have_no_backward_operations(task):
    rows, steps = transfer.versions({**task, "engine": "reference"})
    counts = [row["backward"] for row in rows]
    assert [row["frozen"] for row in rows] == [0, 1, 2, 3, 3]
    assert counts[0] > counts[1] > counts[2] > counts[3] == counts[4] > 0
    for step in steps:
        step()


def test_rows_and_table(task, monkeypatch):
    monkeypatch.setattr(bursts, "BURST", 0.0)
    settings = SimpleNamespace(plan=Rounds(1, 0.01), threads=1, nets=("lenet",), batches_of=lambda net: (2,))
    bench = SimpleNamespace(settings=settings, say=str, task=lambda *_: {**task, "engine": "reference"})
    rows = transfer.run(bench)
    (table,) = report._transfer(rows, Ceilings())
    assert [row[1] for row in table.rows][:2] == ["0 of 4 layers frozen", "1 of 4 layers frozen"]
    assert table.rows[0][-1] == "100" and table.rows[-1][1] == transfer.STORED
