"""Every explanation of a run whose fits differ: a layer frozen or not, another optimiser each time."""

from functools import cache

import numpy as np
import pytest

from kernelearn import explain, optimizers
from kernelearn.errors import ArgumentError
from kernelearn.recording import Recorder, Run
from kernelearn.view.report.build import render_report
from tests.sweeps import some

from .training_runs import _new_folder, data, small_network

# What is frozen in each of two fits of eight updates.
FROZEN = {"later": [(), ("conv",)], "first": [("conv",), ()], "never": [(), ()]}


@cache
def run_of(case):
    """A run of two fits with different optimisers, every gradient recorded."""
    model, folder = small_network(), _new_folder()
    for frozen, optimizer in zip(FROZEN[case], (optimizers.Adam(0.01), optimizers.SGD(0.05, momentum=0.9))):
        for layer in model.layers:
            layer.trainable = layer.name not in frozen
        model.compile(optimizer, "sparse_categorical_crossentropy")
        recorder = Recorder(folder, kernels_every=1, ledger_every=1)
        model.fit(*data(), batch_size=10, epochs=2, verbose=0, seed=1, callbacks=[recorder])
    return Run(folder)


@pytest.mark.parametrize("case", FROZEN)
def test_what_kernels_are_and_became(case):
    run = run_of(case)
    curves = explain.learning_curves(run, "conv")
    assert curves.steps.tolist() == list(range(17))
    still = {"later": range(8, 16), "first": range(8), "never": ()}[case]
    assert not curves.speed[list(still)].any()
    assert curves.speed[[i for i in range(16) if i not in still]].all()
    assert [row["layer"] for row in explain.compare_layers(run)] == ["conv", "dense"]
    assert len(explain.filter_bank_history(run, "conv", samples=19).steps) == 17
    assert explain.kernel_health(run, "conv").norm.shape == (2,)
    assert len(explain.moved_most(run, "conv", 3)) == 3


@pytest.mark.parametrize("case", FROZEN)
def test_a_history_through_both_fits_is_complete(case):
    past = explain.history(run_of(case), "conv", (0, 0, 0, 0))
    assert past.explained == pytest.approx(1) and past.is_exact and "unexplained" not in past.totals
    assert len(past.steps) + past.frozen == 16 and past.frozen == (0 if case == "never" else 8)
    assert ("it was frozen" in past.note()) is (case != "never")
    assert explain.history(run_of(case), "dense", (0, 0)).frozen == 0


@pytest.mark.parametrize("case", FROZEN)
def test_updates_of_both_fits_are_split(case):
    run = run_of(case)
    first, second = (explain.update_split(run, "dense", k) for k in (1, 9))
    assert (first.optimizer, second.optimizer) == ("adam_update", "sgd_update")
    assert first.is_exact and second.is_exact and not second.parts["momentum"].any()
    assert explain.update_split(run, "dense").steps == (1, 16)
    for step, frozen in ((2, FROZEN[case][0]), (12, FROZEN[case][1])):
        if "conv" in frozen:
            with pytest.raises(ArgumentError, match=f"conv/kernel was frozen at step {step}"):
                explain.update_split(run, "conv", step)
        else:
            assert explain.update_split(run, "conv", step).is_exact


@pytest.mark.parametrize("case", some(FROZEN, quick=("later",)))
def test_no_part_of_the_report_is_missing(case):
    page = render_report(run_of(case))
    assert "This part is missing" not in page
    assert "Optimiser from update 9 on" in page


def test_a_mistake_in_one_step_is_no_rounding():
    """The sum of many updates is exact as long as each is, and no longer."""
    from kernelearn.explain.update.run_updates import RunUpdates
    from kernelearn.explain.update.splits import summed

    updates = RunUpdates(run_of("never"), "conv")
    splits = [updates.split(step) for step in updates.steps()[:8]]
    assert summed(splits).is_exact
    splits[3].parts["gradient"][0, 0, 0, 0] += 1e-4
    assert not summed(splits).is_exact


def test_rounding_of_a_history_is_what_rounding_did(monkeypatch):
    from kernelearn.explain.update.weight_updates import WeightUpdates

    past = explain.history(run_of("never"), "dense", (0, 0))
    assert 0 < past.rounding < 1e-5 and abs(past.residual) <= past.rounding
    whole = WeightUpdates.numbers

    def wrong(self, step):
        found = whole(self, step)
        return found if step != 5 else type(found)(**{**vars(found), "direct": found.direct * 1.01})

    monkeypatch.setattr(WeightUpdates, "numbers", wrong)
    past = explain.history(run_of("never"), "dense", (0, 0))
    assert not past.is_exact and np.isfinite(past.rounding)
