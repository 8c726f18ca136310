"""What a user sees while a loop runs: on a terminal, in a file, and when nothing is wanted."""

import io
import re
import subprocess
import sys

import pytest

from kernelearn.callbacks import CallbackList, ProgressBar
from kernelearn.errors import ArgumentError
from kernelearn.optimizers import SGD
from kernelearn.schedules import CosineDecay
from kernelearn.training import progress
from kernelearn.training.progress import (
    LiveLine,
    PlainLines,
    ShownPass,
    Silent,
    duration,
    make_display,
    number,
)


class Clock:
    """Gives the seconds that the test says."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class FakeModel:
    def __init__(self):
        self.optimizer = SGD(0.1)
        self.metrics = []


def fit(
    display,
    epochs=2,
    steps=4,
    seconds=0.5,
    validation=True,
    batch_size=32,
    first=0,
    rates=(),
    after=None,
    schedule=None,
):
    """Drive the hooks of a `fit` whose every batch takes `seconds`, and validation one second more."""
    clock, model = Clock(), FakeModel()
    if schedule is not None:
        model.optimizer = SGD(schedule)
    bar = ProgressBar(display, clock)
    hooks = CallbackList(bar, model=model, verbose=1, epochs=epochs, steps=steps, batch_size=batch_size)
    hooks.on_train_begin()
    for epoch in range(epochs):
        if schedule is None:
            model.optimizer.learning_rate = rates[epoch] if rates else 0.1
        hooks.on_epoch_begin(epoch)
        for batch in range(first, steps or 4):
            clock.now += seconds
            hooks.on_train_batch_end(batch, {"loss": 1.0 / (batch + 1), "accuracy": 0.25 * batch})
        logs = {"loss": 0.25, "accuracy": 0.75}
        if validation:
            hooks.on_test_begin()
            clock.now += 1.0
            hooks.on_test_batch_end(0, {"loss": 9.0})
            hooks.on_test_end({"loss": 9.0})
            logs |= {"val_loss": 0.5, "val_accuracy": 0.625}
        hooks.on_epoch_end(epoch, logs)
        if after:
            after()
    hooks.on_train_end()


def plain(**arguments):
    stream = io.StringIO()
    fit(PlainLines(stream), **arguments)
    return stream.getvalue().splitlines()


def test_plain_lines_are_one_an_epoch():
    assert plain() == [
        f"Epoch {epoch}/2 - 4/4 - 3.0s - 64 images/s - "
        "loss: 0.2500 - accuracy: 0.7500 - val_loss: 0.5000 - val_accuracy: 0.6250"
        for epoch in (1, 2)
    ]


def test_long_epochs_give_a_sign_of_life_about_every_half_minute():
    lines = plain(epochs=1, steps=10, seconds=16.0, validation=False)
    assert lines[0] == "Epoch 1/1 - 2/10 - 2:08 left - 2 images/s - loss: 0.5000 - accuracy: 0.2500"
    assert [line.split(" - ")[1] for line in lines] == ["2/10", "4/10", "6/10", "8/10", "10/10", "10/10"]
    assert lines[-1].startswith("Epoch 1/1 - 10/10 - 2:40 - 2 images/s")


def test_an_unknown_number_of_steps():
    lines = plain(epochs=1, steps=None, seconds=16.0, validation=False)
    assert lines[0].startswith("Epoch 1/1 - 2 - 2 images/s - loss")
    assert lines[-1].startswith("Epoch 1/1 - 4 - 1:04 - 2 images/s - loss")


def test_without_a_batch_size_batches_are_counted():
    assert " - 2 batches/s - " in plain(batch_size=None)[0]


def test_a_resumed_epoch_counts_only_what_it_did_itself():
    """Two of four batches in one second: 64 images a second, not 128."""
    assert "4/4 - 1.0s - 64 images/s" in plain(epochs=1, first=2, validation=False)[0]


def test_the_learning_rate_is_shown_when_it_changes():
    lines = plain(epochs=4, rates=[0.1, 0.1, 0.05, 0.05])
    assert ["learning_rate" in line for line in lines] == [False, False, True, False]
    assert lines[2].endswith("learning_rate: 0.0500")


def test_the_rate_of_a_schedule_is_shown_from_the_first_epoch():
    lines = plain(epochs=3, schedule=CosineDecay(0.1, 4))
    assert all("learning_rate: " in line for line in lines)


def test_evaluation_and_prediction_have_their_own_line():
    clock, stream = Clock(), io.StringIO()
    bar = ProgressBar(PlainLines(stream), clock)
    hooks = CallbackList(bar, model=FakeModel(), verbose=1, steps=2, batch_size=10)
    hooks.on_test_begin()
    for batch in range(2):
        clock.now += 0.25
        hooks.on_test_batch_end(batch, {"loss": 1.0})
    hooks.on_test_end({"loss": 0.5})
    hooks.on_predict_begin()
    for batch in range(2):
        clock.now += 0.5
        hooks.on_predict_batch_end(batch, {"outputs": object()})
    hooks.on_predict_end()
    assert stream.getvalue().splitlines() == [
        "Evaluate - 2/2 - 0.5s - 40 images/s - loss: 0.5000",
        "Predict - 2/2 - 1.0s - 20 images/s",
    ]


def terminal(width=120, **arguments):
    """Everything written to a terminal, and the console."""
    from rich.console import Console

    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, color_system=None, legacy_windows=False)
    fit(LiveLine(console), **arguments)
    return stream.getvalue()


def shown_lines(text):
    """The lines as drawn, without the codes that move the cursor."""
    return [
        line.strip()
        for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))
        if line.strip()
    ]


def test_a_terminal_shows_a_bar_and_keeps_one_line_an_epoch():
    lines = shown_lines(terminal())
    half = "Epoch 1/2 ━━━━━━━━━━━━━━━━━━━━ 2/4  1.0s  64 images/s  loss: 0.5000 - accuracy: 0.2500"
    assert half in lines
    kept = [line for line in lines if "val_loss" in line]
    values = "loss: 0.2500 - accuracy: 0.7500 - val_loss: 0.5000 - val_accuracy: 0.6250"
    assert kept[0] == f"Epoch 1/2 4/4  3.0s  64 images/s  {values}"
    assert len(kept) == 2
    # When an epoch has ended, the bar of its last batch is not drawn again under the line that stays.
    assert sum("━ 4/4" in line for line in lines) <= 2


def test_the_cursor_comes_back():
    text = terminal()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_the_cursor_comes_back_after_an_error():
    from rich.console import Console

    stream, before = io.StringIO(), sys.stdout
    console = Console(file=stream, force_terminal=True, width=100)
    with (
        pytest.raises(KeyboardInterrupt),
        CallbackList(ProgressBar(LiveLine(console)), model=FakeModel(), verbose=1) as c,
    ):
        c.on_train_begin()
        c.on_epoch_begin(0)
        raise KeyboardInterrupt
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")
    assert sys.stdout is before


def test_fast_batches_are_not_all_drawn():
    """A thousand batches in one second are drawn about ten times."""
    text = terminal(epochs=1, steps=1000, seconds=0.001, validation=False)
    drawings = sum("━" in line for line in shown_lines(text))
    assert 8 <= drawings <= 13


def test_a_narrow_terminal_gets_one_line_for_the_bar():
    lines = shown_lines(terminal(width=40))
    bars = [line for line in lines if "━" in line]
    assert bars
    assert all(len(line) <= 40 for line in bars)


def test_what_callbacks_print_does_not_break_the_bar(capsys):
    text = terminal(epochs=1, after=lambda: print("a message"))
    assert "a message" in shown_lines(text) or "a message" in capsys.readouterr().out.splitlines()


def test_nothing_is_shown_when_asked(capsys):
    bar = ProgressBar()
    hooks = CallbackList(bar, model=FakeModel(), verbose=0, epochs=1, steps=1)
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    hooks.on_train_batch_end(0, {"loss": 1.0})
    hooks.on_epoch_end(0, {"loss": 1.0})
    hooks.on_train_end()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("verbose", "is_terminal", "kind", "has_signs_of_life"),
    [
        (0, True, Silent, None),
        (1, True, LiveLine, None),
        ("auto", True, LiveLine, None),
        (2, True, PlainLines, False),
        (0, False, Silent, None),
        (1, False, PlainLines, True),
        ("auto", False, PlainLines, True),
        (2, False, PlainLines, False),
    ],
)
def test_verbose_and_the_terminal_choose_the_display(
    verbose, is_terminal, kind, has_signs_of_life, monkeypatch
):
    monkeypatch.setattr(progress, "is_terminal", lambda _: is_terminal)
    display = make_display(verbose)
    assert type(display) is kind
    if has_signs_of_life is not None:
        assert (display._line_seconds is not None) is has_signs_of_life


@pytest.mark.parametrize("verbose", [3, "loud", None])
def test_another_verbose_is_refused(verbose):
    with pytest.raises(ArgumentError, match='verbose must be "auto", 0, 1 or 2'):
        make_display(verbose)


def test_what_counts_as_a_terminal(monkeypatch):
    stream = io.StringIO()
    assert not progress.is_terminal(stream)
    stream.isatty = lambda: True
    monkeypatch.setenv("TERM", "xterm")
    assert progress.is_terminal(stream)
    monkeypatch.setenv("TERM", "dumb")
    assert not progress.is_terminal(stream)
    assert not progress.is_terminal(None)


WITHOUT_A_TERMINAL = """
import sys
from kernelearn.callbacks import CallbackList
hooks = CallbackList(add_progbar=True, model=type("M", (), {})(), verbose="auto", epochs=1, steps=1)
hooks.on_train_begin(); hooks.on_epoch_begin(0); hooks.on_train_batch_end(0, {"loss": 1.0})
hooks.on_epoch_end(0, {"loss": 1.0}); hooks.on_train_end()
print("rich" in sys.modules)
"""


def test_rich_is_not_loaded_without_a_terminal():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_TERMINAL], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Epoch 1/1 - 1/1")
    assert lines[1] == "False"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (0.5, "0.5000"),
        (-12.0, "-12.0000"),
        (0.0005, "5.0000e-04"),
        (float("inf"), "inf"),
        ([1, 2], "..."),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0s"), (9.94, "9.9s"), (59.4, "59s"), (60, "1:00"), (3599.6, "1:00:00")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_speed_and_rest_are_unknown_before_the_first_batch():
    shown = ShownPass("Epoch 1", 10, 32, started=5.0)
    assert (shown.rate(), shown.remaining(), shown.speed()) == (None, None, "")
