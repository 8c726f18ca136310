"""The section "recorder": what it counts, on a clock that ticks at each look, and of which training."""

from itertools import count

from kernelearn import Sequential
from kernelearn.bench.nets import find_net
from kernelearn.bench.sections.recorder import EPOCHS, IMAGES, TimedRecorder, _data
from kernelearn.layers import Dense, Flatten, Input
from kernelearn.recording import Run


def timed_fit(folder, settling, counted):
    """A recorder behind a training that it ended, and the run that it left."""
    model = Sequential([Input((28, 28, 1)), Flatten(), Dense(10, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    ticks = count()
    recorder = TimedRecorder(folder, settling, counted, lambda: float(next(ticks)))
    model.fit(_data(find_net("lenet")), epochs=EPOCHS, batch_size=32, verbose=0, callbacks=[recorder])
    return recorder, Run(folder)


def test_the_first_steps_do_not_count_and_the_last_one_ends_the_training(tmp_path):
    recorder, run = timed_fit(tmp_path / "run", settling=2, counted=3)
    assert run.last_step == 5
    # A second from look to look: one in a step, one in the hook before it, one in the hook behind it.
    assert recorder.steps == [1.0] * 3
    assert recorder.hooks == [2.0] * 3
    assert recorder.epoch == 1.0
    written = sum(path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert 0 < recorder.bytes < written


def test_a_recorder_plans_for_the_long_training(tmp_path):
    _, run = timed_fit(tmp_path / "run", settling=0, counted=1)
    begun = next(event for event in run.events if event["kind"] == "begun")
    assert begun["every"]["ledger"] == EPOCHS * IMAGES // 32 // 20


def test_the_images_take_the_memory_of_one():
    data = _data(find_net("resnet20"))
    assert len(data) == IMAGES and data.x_shape == (32, 32, 3)
    assert data._store.x.strides[0] == 0
