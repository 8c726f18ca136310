"""Layers with a full history: every update of them is explained, while large layers keep their strides."""

import numpy as np
import pytest

from kernelearn import explain, optimizers
from kernelearn.errors import UnknownNameError
from kernelearn.recording import Recorder, Run, prune
from kernelearn.recording.capture import selection
from kernelearn.recording.schedule import Cost, Schedule, Stream, thinned
from tests.recording.helpers import KeepWeights, make_data, make_model, record

RARE = {"kernels_every": 50, "ledger_every": 50, "maps_every": 0, "epochs": 4}


@pytest.mark.parametrize("optimizer", ["adam", optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.01)])
def test_every_update_of_a_small_layer_is_explained_by_default(tmp_path, monkeypatch, optimizer):
    monkeypatch.setattr(selection, "FULL_LAYER", 20)
    keeper = KeepWeights()
    model, run = record(tmp_path, make_model(optimizer), callbacks=[keeper], **RARE)
    sizes = {n: sum(w.size for w in model.get_layer(n).get_weights()) for n in run.layers}
    assert run.full_layers == [name for name in run.layers if sizes[name] <= 20] == ["conv", "norm"]
    assert run.weight_steps("conv").tolist() == list(range(13)) and run.steps.tolist() == [0, 1]
    assert run.gradient_steps_of("conv").tolist() == list(range(1, 13))
    assert all(np.array_equal(run.kernels("conv", k), keeper.weights[k]["conv/kernel"]) for k in range(13))
    history = explain.history(run, "conv", (0, 1, 0, 1))
    assert history.explained == 1 and history.is_exact and "full_layers" not in history.note()
    other = explain.history(run, "dense", (0, 1), 1, 1)
    assert other.explained == 1 and run.weight_steps("dense").tolist() == [0, 1]


def test_layers_are_named_or_left_out(tmp_path):
    _, run = record(tmp_path / "named", make_model("adam"), full_layers=["dense"], **RARE)
    assert run.full_layers == ["dense"] and len(run.gradient_steps_of("conv")) == 1
    assert explain.history(run, "dense", (0, 1)).explained == 1
    _, run = record(tmp_path / "none", make_model("adam"), full_layers=(), **RARE)
    assert run.full_layers == [] and not list((tmp_path / "none").glob("full*"))
    with pytest.raises(UnknownNameError, match="recorded and trained layer 'sense'"):
        record(tmp_path / "unknown", make_model("adam"), full_layers=["sense"])


def test_what_was_not_asked_for_takes_a_sixteenth_of_the_room(tmp_path):
    _, run = record(tmp_path / "whole", make_model("adam"), **RARE)
    size = (tmp_path / "whole" / "full-1.bin").stat().st_size
    assert run.full_layers
    _, run = record(tmp_path / "small", make_model("adam"), max_bytes=14 * size, **RARE)
    assert run.full_layers == [] and run.status == "finished"


def test_a_later_fit_goes_on_with_the_history(tmp_path):
    model, run = record(tmp_path, make_model("adam"), **RARE)
    x, y = make_data()
    model.fit(x, y, batch_size=4, epochs=1, verbose=0, callbacks=[Recorder(tmp_path, kernels_every=50)])
    again = Run(tmp_path)
    assert again.last_step > run.last_step and explain.history(again, "conv", (0, 0, 0, 0)).explained == 1


def test_a_history_that_is_thinned_keeps_whole_updates(tmp_path):
    _, run = record(tmp_path, make_model("adam"), **RARE)
    prune(tmp_path, full=4)
    run = Run(tmp_path)
    assert {3, 4, 7, 8, 11, 12} <= set(run.weight_steps("conv").tolist()) and run.full_layers == []
    history = explain.history(run, "conv", (0, 0, 0, 0), 4, 12)
    assert 0 < history.explained < 1 and "full_layers='conv'" in history.note()
    rare = Schedule({Stream.FULL: 4})
    assert [step for step in range(9) if Stream.FULL in rare.due(step)] == [3, 4, 7, 8]


def test_neighbours_are_not_counted_twice():
    cost = {"full": Cost(20, most=10)}
    assert thinned({"full": 1}, cost, steps=100, room=1_020) == {"full": 1}
    assert cost["full"].total(4, 100) == 500 and cost["full"].total(0, 100) == 0
