"""The section "torch": who takes part, the line of each network, the table. No PyTorch is needed."""

import pytest

from kernelearn.bench import report
from kernelearn.bench.interleave import Rounds
from kernelearn.bench.rivals import Workers
from kernelearn.bench.runners import TORCH_MODE
from kernelearn.bench.runners.torch_modes import MODES
from kernelearn.bench.sections import inside_torch
from kernelearn.bench.suite import Bench, Ceilings, Settings
from kernelearn.errors import UnknownNameError
from tests.bench.helpers import local_workers

SECONDS = {
    "eager": 4e-3,
    "eager, channels_last": 3e-3,
    "inductor": 5e-3,
    "inductor, channels_last": 5e-3,
    "one argument": 2e-3,
    "one argument, channels_last": 1.5e-3,
    "arranged": 1.5e-3,
    "whole step": 1e-3,
}


def bench(tmp_path, said, **settings):
    times = {TORCH_MODE + mode: seconds for mode, seconds in SECONDS.items()}
    workers = Workers(1, start=local_workers(times))
    plan = Rounds(2, 0.01, rest=0.0)
    return Bench(Settings(plan=plan, **settings), workers, tmp_path, said.append)


def test_each_mode_is_a_process_of_its_own(tmp_path):
    assert set(SECONDS) == set(MODES)
    one = bench(tmp_path, [])
    names = [e.name for e in inside_torch.entries(one, "lenet", inside_torch.TRAINING, 32)]
    assert names == list(MODES)
    names = [e.name for e in inside_torch.entries(one, "lenet", inside_torch.PREDICTION, 1)]
    assert "whole step" not in names
    one = bench(tmp_path, [], compile=False)
    names = [e.name for e in inside_torch.entries(one, "lenet", inside_torch.TRAINING, 32)]
    assert not [name for name in names if "inductor" in name]
    assert len({e.framework for e in inside_torch.entries(one, "lenet", inside_torch.TRAINING, 32)}) == 6


def test_a_line_tells_of_each_network_and_a_table_of_all(tmp_path):
    said = []
    rows = inside_torch.run(bench(tmp_path, said, torch_nets=("lenet", "resnet18")))
    assert [row.label for row in rows] == [
        "lenet, training, batch 32",
        "lenet, predicting, batch 1",
        "resnet18, training, batch 32",
        "resnet18, predicting, batch 1",
    ]
    told = "lenet, training, batch 32: eager, channels_last 3 ms; one argument x1.50"
    assert any(line.startswith(told) and "whole step x3.00" in line for line in said)
    ratios, times = report._torch(rows, Ceilings())
    assert ratios.columns[1:4] == ["PyTorch, best ms", "one argument", "one argument, channels_last"]
    assert ratios.rows[0][1:3] == ["3 (eager, channels_last)", "1.50 [1.50, 1.50]"]
    assert ratios.rows[1][-1] == "-"
    assert times.rows[0][1].startswith("4 [")


def test_without_pytorch_it_is_said(tmp_path):
    said = []
    one = bench(tmp_path, said, torch_nets=("lenet",))
    one.workers = Workers(1, start=local_workers({}))
    rows = inside_torch.run(one)
    assert "nothing to compare" in said[1] and "is not installed" in said[1]
    assert report._torch(rows, Ceilings())[0].rows[0][1] == "-"


def test_batches_that_were_asked_for_and_unknown_networks(tmp_path):
    rows = inside_torch.run(bench(tmp_path, [], torch_nets=("lenet",), batches=(2, 4)))
    assert [row.label for row in rows] == [
        f"lenet, {doing}, batch {batch}" for doing in ("training", "predicting") for batch in (2, 4)
    ]
    assert inside_torch.networks_of(()) == tuple(inside_torch.NETWORKS)
    with pytest.raises(UnknownNameError, match="resnet19"):
        inside_torch.networks_of(("resnet19",))
