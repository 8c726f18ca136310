"""The trainer's one hook for recorders: a report of a step for whoever asked, and nothing for others."""

import numpy as np
import pytest

from kernelearn import data
from kernelearn.callbacks import Callback
from kernelearn.errors import KernelearnError

from .helpers import make_data, make_model


class Watcher(Callback):
    """Asks for reports of every second step."""

    def __init__(self, buffers=None):
        super().__init__()
        self.buffers, self.reports = buffers, []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.last_step = None
        if batch % 2 == 0:
            self.model.watch_step(self.buffers)

    def on_train_batch_end(self, batch, logs=None):
        self.reports.append(self.model.last_step)


def watch(buffers=None, **options):
    model, (x, y), watcher = make_model(norm=False), make_data(), Watcher(buffers)
    arguments = {"epochs": 2, "batch_size": 8, "verbose": 0, "seed": 5, **options}
    model.fit(x, y, callbacks=[watcher], **arguments)
    return model, watcher.reports


def test_a_report_comes_only_to_who_asked():
    model, reports = watch()
    assert [report is None for report in reports] == [False, True, False] * 2
    assert model.last_step is None and model.fit_data is None


def test_a_report_says_which_rows_and_holds_the_buffers():
    x, y = make_data()
    gradient = make_model(norm=False).program().gradients["conv/kernel"]
    _, reports = watch({"gradient": gradient})
    for report in filter(None, reports):
        assert np.array_equal(report.batch.arrays["x_0"], x[report.rows])
        assert np.array_equal(report.batch.arrays["y_true_0"], y[report.rows])
        assert report.buffers["gradient"].shape == (3, 3, 1, 2) and report.learning_rate == 0.01
    assert set(report.buffers) == {"gradient"}


def test_watching_changes_no_number():
    gradient = make_model(norm=False).program().gradients["conv/kernel"]
    for mine, theirs in zip(watch()[0].get_weights(), watch({"g": gradient})[0].get_weights()):
        assert np.array_equal(mine, theirs)


def test_a_buffer_that_there_is_not():
    with pytest.raises(KernelearnError, match="No buffer named 'nothing'"):
        watch({"x": "nothing"})


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_order_of_a_dataset_is_that_of_its_batches(shuffle):
    x, _ = make_data()
    dataset = data.as_dataset(x, np.arange(20)).subset(slice(3, None))
    for epoch in (0, 4):
        batches = dataset.batches(6, shuffle=shuffle, seed=2, epoch=epoch)
        seen = np.concatenate([labels for _, labels, _ in batches])
        assert np.array_equal(seen, dataset.labels[dataset.order(shuffle, 2, epoch)])
