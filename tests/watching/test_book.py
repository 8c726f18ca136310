"""A watched training in a run folder: what is told is read back, whatever program it came from."""

import warnings

import numpy as np
import pytest

from kernelearn import explain
from kernelearn.errors import ArgumentError, StorageError, UnknownNameError
from kernelearn.recording import Run
from kernelearn.watching.book import WatchBook
from kernelearn.watching.seen import SeenModel, SeenPart, SeenRule, SeenStep, SeenUse, SeenWeight
from tests.told import texts

EVERY = {"kernels": 1, "ledger": 2, "maps": 0, "gradients": 0, "full": 0, "snapshots": 1}


class Program:
    """A dense layer and gradient descent, as another program would have them."""

    def __init__(self, rows=4, seed=0):
        self.random = np.random.default_rng(seed)
        self.kernel = self.random.normal(size=(3, 2)).astype("float32")
        self.count = np.zeros(2, np.float32)
        self.rows = rows
        self.told = {}  # otherwise than usual

    def model(self, step):
        weights = {
            "layer/kernel": SeenWeight((3, 2), lambda: self.kernel),
            "norm/count": SeenWeight((2,), lambda: self.count),
        }
        rule = SeenRule("torch_sgd", {"momentum": 0.0, "weight_decay": 0.0})
        return SeenModel(
            weights, {"layer/kernel": rule}, {"kind": "torch_sgd"}, ["layer/kernel", "norm/count"], 0
        )

    def step(self, book, rows=None):
        n = rows or self.rows
        x, delta = (self.random.normal(size=(n, k)).astype("float32") for k in (3, 2))
        gradient = x.T @ delta
        told = {"loss": 1.5, "images": np.arange(n) + 7, "labels": np.arange(n) % 2, **self.told}
        seen = SeenStep(n, 0.1, **told)
        if "ledger" in book.due or not book.has_begun:
            part = SeenPart("dense", {}, x, delta)
            seen.gradients = {"layer/kernel": gradient}
            seen.uses = {"layer/kernel": SeenUse((3, 2), None, (part,))}
            book.prepare(self.model(book.step), seen)
        self.kernel = self.kernel - np.float32(0.1) * gradient
        book.arrive()
        book.record(seen)
        return gradient


def book_in(folder, every=EVERY, layers=None, max_bytes=2**24, overwrite=False):
    about = {"model": None, "metadata": {}, "weights": {"layer/kernel": [3, 2]}, "engine": "other"}
    return WatchBook(folder, about, every, [], layers, max_bytes, overwrite)


def test_what_is_told_is_read_back(tmp_path):
    book, program = book_in(tmp_path / "run"), Program()
    start = program.kernel.copy()
    gradients = [program.step(book) for _ in range(5)]
    book.close()
    run = Run(tmp_path / "run")
    assert run.ledger_steps.tolist() == [1, 2, 4] and run.status == "finished"
    np.testing.assert_array_equal(run.kernels("layer", 0), start)
    np.testing.assert_array_equal(run.kernels("layer", 5), program.kernel)
    np.testing.assert_array_equal(run.gradient("layer", 4), gradients[3])
    assert run.batch(3).images.tolist() == [7, 8, 9, 10]
    assert run.scalars("loss")[1].tolist() == [1.5] * 5
    ledger = explain.ledger(run, "layer", 2, (1, 0))
    assert abs(ledger.residual) < 1e-6 * np.abs(ledger.terms).sum()
    assert explain.update_split(run, "layer", 2).is_exact


def test_larger_batches_begin_a_segment(tmp_path):
    book, program = book_in(tmp_path / "run"), Program()
    for rows in (4, 4, 4, 9, 4, 4):
        program.step(book, rows)
    book.close()
    run = Run(tmp_path / "run")
    assert len(run.manifest["segments"]) == 2
    assert len(run.ledger("layer", 4).x) == 9 and len(run.ledger("layer", 6).x) == 4
    np.testing.assert_array_equal(run.kernels("layer", 6), program.kernel)


def test_a_run_that_is_killed_loses_nothing_that_was_written(tmp_path):
    book, program = book_in(tmp_path / "run"), Program()
    for _ in range(3):
        program.step(book)
    run = Run(tmp_path / "run")
    assert run.last_step == 3 and run.status == "recording"
    np.testing.assert_array_equal(run.kernels("layer", 3), program.kernel)
    book.close("interrupted")
    assert Run(tmp_path / "run").status == "interrupted"


def test_layers_by_name(tmp_path):
    book, program = book_in(tmp_path / "run", layers=["norm"]), Program()
    program.step(book)
    book.close()
    assert Run(tmp_path / "run").layers == ["norm"]
    with pytest.raises(UnknownNameError, match="layre"):
        Program().step(book_in(tmp_path / "other", layers=["layre"]))


def test_a_run_that_is_there_stays(tmp_path):
    book = book_in(tmp_path / "run")
    book.close()
    with pytest.raises(ArgumentError, match="overwrite=True"):
        book_in(tmp_path / "run")
    book_in(tmp_path / "run", overwrite=True).close()


def test_a_budget_that_holds_nothing_is_told(tmp_path):
    book = book_in(tmp_path / "run", max_bytes=2000)
    with pytest.raises(StorageError, match="max_bytes"):
        Program().step(book)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        book.close("interrupted")
    assert not texts(said)


def test_steps_without_anything_due_are_counted(tmp_path):
    book, program = book_in(tmp_path / "run", {**EVERY, "kernels": 4, "ledger": 4}), Program()
    program.step(book)
    for _ in range(2):
        book.arrive()
        book.skip()
    program.step(book)
    book.close()
    assert Run(tmp_path / "run").last_step == 4


def test_the_end_is_read_where_nothing_was_due_of_the_last_step(tmp_path):
    book, program = book_in(tmp_path / "run", {**EVERY, "kernels": 4, "ledger": 4}), Program()
    program.step(book)
    book.arrive()
    book.skip()
    program.kernel = program.kernel + np.float32(1)
    book.close()
    run = Run(tmp_path / "run")
    assert run.last_step == 2 and run.model_steps.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(run.read("snapshots", "layer/kernel", 2), program.kernel)


def test_weights_that_something_else_sets(tmp_path):
    """A state that is loaded between two steps is no part of an update."""
    book, program = book_in(tmp_path / "run", {**EVERY, "ledger": 1}), Program()
    program.step(book)
    program.kernel = program.kernel + np.float32(1)
    program.step(book)
    program.step(book)
    book.close()
    run = Run(tmp_path / "run")
    assert run.was_set("layer", 2) and not run.was_set("layer", 3)
    np.testing.assert_allclose(run.weight_before("layer", 2), run.kernels("layer", 1) + 1)
    for step in (1, 2, 3):
        split = explain.update_split(run, "layer", step)
        assert split.is_exact and ("by_hand" in split.parts) == (step == 2)
    found = explain.history(run, "layer", (1, 0))
    whole = run.kernels("layer", 3)[1, 0] - run.kernels("layer", 0)[1, 0]
    assert found.totals["by_hand"] == pytest.approx(1, abs=1e-6)
    assert sum(found.totals.values()) == pytest.approx(whole, abs=1e-5), found.totals


def test_weights_that_are_set_at_every_step_make_no_file_each(tmp_path, monkeypatch):
    """As where weights are clipped behind every update."""
    monkeypatch.setattr("kernelearn.watching.book._MOST_FOR_CHANGES", 3)
    book, program = book_in(tmp_path / "run", {**EVERY, "ledger": 1}), Program()
    for _ in range(8):
        program.step(book)
        program.kernel = program.kernel / 2
    book.close()
    run = Run(tmp_path / "run")
    assert len(run.manifest["segments"]) == 3
    assert sum(event["kind"] == "weights changed" for event in run.events) == 7
    assert explain.update_split(run, "layer", 2).is_exact
    assert not explain.update_split(run, "layer", 8).is_exact, "told, not hidden"
