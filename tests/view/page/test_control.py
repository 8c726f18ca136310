"""Live control: what the page does to a training is an event, an explanation, and can be done again."""

import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from kernelearn import Sequential, explain, layers, schedules
from kernelearn.callbacks import BackupAndRestore, Callback
from kernelearn.errors import ArgumentError, KernelearnError, UnknownNameError
from kernelearn.optimizers import SGD, Adam
from kernelearn.recording import Interventions, Recorder, Run
from kernelearn.recording.control import FOLDER, check, send, state_of, why_not
from kernelearn.recording.interventions import Intervention, edit, standing
from kernelearn.utils import set_random_seed
from kernelearn.view import Microscope
from kernelearn.view.page.answers import answer
from kernelearn.view.page.library import Library

from .runs import NETWORKS, pictures
from .runs import answer as last_layer
from .test_server import asked, serving


def made(optimizer="adam", name="relu and pool"):
    shape, stack = NETWORKS[name]()
    set_random_seed(0)
    model = Sequential([layers.Input(shape), *stack, layers.Flatten(name="flat"), last_layer()])
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def train(model, *callbacks, epochs=4):
    images, labels = pictures((8, 8, 1))
    model.fit(images, labels, batch_size=8, epochs=epochs, seed=0, verbose=0, callbacks=list(callbacks))
    return model


class Hands(Callback):
    """Sends commands at steps, from within the training: what a page does, without its waiting."""

    def __init__(self, folder, commands):
        super().__init__()
        self.folder, self.commands, self.step = folder, commands, 0

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        for command in self.commands.get(self.step, ()):
            send(self.folder, command)


COMMANDS = {
    2: [{"do": "edit", "layer": "conv", "weight": "kernel", "index": [1, 1, 0, 2], "value": 0.75}],
    4: [
        {"do": "learning_rate", "value": 0.05},
        {"do": "edit", "layer": "conv", "weight": "bias", "index": [1], "value": 0.25},
        {"do": "freeze", "layer": "answer"},
        {"do": "edit", "layer": "conv", "weight": "bias", "index": [1], "value": 0.5},
    ],
    6: [
        {"do": "reset", "layer": "conv", "filter": 1},
        {"do": "edit", "layer": "answer", "weight": "bias", "index": [0], "value": -1},
    ],
    8: [{"do": "unfreeze", "layer": "answer"}, {"do": "learning_rate", "value": None}],
}


def watched(folder, commands, optimizer="adam", **options):
    """(model, run) of a training that was steered."""
    options = {"ledger_every": 2, "gradients_every": 1, **options}
    scope = Microscope(folder, serve=False, control=True, **options)
    model = train(made(optimizer), Hands(folder, commands), scope)
    return model, Run(folder)


def same_weights(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights()))


@pytest.fixture(scope="module", params=["adam", "sgd", "scheduled"])
def steered(request, tmp_path_factory):
    rates = {
        "scheduled": lambda: Adam(schedules.ExponentialDecay(0.01, 4, 0.5)),
        "sgd": lambda: SGD(0.1, momentum=0.9),
    }
    optimizer = rates.get(request.param, lambda: "adam")
    folder = tmp_path_factory.mktemp("steered") / "run"
    return (*watched(folder, COMMANDS, optimizer()), optimizer)


def test_every_intervention_is_an_event_with_its_step(steered):
    _, run, _ = steered
    told = [(one.kind, one.step) for one in run.interventions]
    assert told == [
        ("edited", 2),
        ("learning rate", 4),
        ("edited", 4),
        ("frozen", 4),
        ("edited", 4),
        ("reset", 6),
        ("edited", 6),
        ("unfrozen", 8),
        ("learning rate", 8),
    ]
    assert run.interventions[0].values == (0.75,) and run.interventions[0].index == (1, 1, 0, 2)
    assert np.isclose(run.learning_rate(5), 0.05) and not np.isclose(run.learning_rate(9), 0.05)
    assert run.is_frozen("answer", 6) and not run.is_frozen("answer", 9)
    assert run.status == "finished" and run.problems == []


def test_doing_them_again_gives_the_same_bits(steered, tmp_path):
    model, run, optimizer = steered
    again = train(made(optimizer()), Interventions(run), Recorder(tmp_path / "again", ledger_every=2))
    assert same_weights(model, again)
    assert not same_weights(model, train(made(optimizer())))
    repeated = Run(tmp_path / "again")
    assert repeated.interventions == run.interventions
    for step in range(1, 13):
        assert np.array_equal(repeated.kernels("conv", step), run.kernels("conv", step))


def test_doing_them_again_from_the_list_needs_no_recorder(steered):
    model, run, optimizer = steered
    assert same_weights(model, train(made(optimizer()), Interventions(run.interventions)))


def test_the_update_says_what_was_edited_by_hand(steered):
    _, run, _ = steered
    for step in (3, 7):
        split = explain.update_split(run, "conv", step)
        assert "by_hand" in split.parts and split.is_exact
        assert np.array_equal(split.before, run.kernels("conv", step - 1))
    assert np.count_nonzero(explain.update_split(run, "conv", 3).parts["by_hand"]) == 1
    start = run.kernels("conv", 0)[..., 1]
    reset = run.weight_before("conv", 7)[..., 1]
    assert np.array_equal(reset, start)
    assert "by_hand" not in explain.update_split(run, "conv", 5).parts
    bias = explain.update_split(run, "conv", 5, "bias")
    assert bias.is_exact and np.isclose(bias.before[1] + bias.parts["by_hand"][1], 0.5)
    assert np.array_equal(run.trace("conv", (), "bias")[1][4], run.kernels("conv", 4, "bias"))
    assert "by_hand" in explain.update_split(run, "conv", range(2, 5)).parts


def test_the_history_adds_up_with_what_was_done_by_hand(steered):
    _, run, _ = steered
    for index in ((1, 1, 0, 2), (0, 0, 0, 1), (0, 0, 0, 3)):
        past = explain.history(run, "conv", index)
        assert past.is_exact, index
    assert explain.history(run, "conv", ("bias", 1)).is_exact
    assert explain.history(run, "conv", (1, 1, 0, 2)).totals["by_hand"] != 0
    assert "by_hand" not in explain.history(run, "conv", (0, 0, 0, 3)).totals
    bias = explain.history(run, "answer", ("bias", 0))
    assert bias.is_exact and bias.totals["by_hand"] != 0


def test_the_page_tells_it(steered):
    _, run, _ = steered
    library = Library([run.folder])

    def got(name, **params):
        return json.loads(answer(library, f"runs/run/{name}", {k: str(v) for k, v in params.items()}).body)

    told = got("update", layer="conv", step=3, index="1,1,0,2")
    assert told["parts"][0]["name"] == "by_hand" and told["parts"][0]["words"] == "edited by hand"
    assert told["by_hand"][0]["values"] == [0.75]
    frozen = got("update", layer="answer", weight="bias", step=7, index="0")
    assert frozen["is_frozen"] and frozen["after"] == -1 and frozen["parts"][0]["name"] == "by_hand"
    assert np.isclose(frozen["before"] + frozen["parts"][0]["value"], frozen["after"])
    kinds = [event["kind"] for event in got("events")["events"]]
    assert kinds.count("edited") == 4 and "reset" in kinds


def test_steps_with_interventions_can_be_computed_once_more(steered):
    from kernelearn.explain.passes.run_steps import StepReplays

    _, run, _ = steered
    steps = StepReplays(run)
    assert steps.steps()
    for step in steps.steps():
        replay = steps.at(step)
        assert np.isclose(replay.value(replay.program.outputs["loss"]), run.scalars("loss")[1][step - 1])


# --- pausing, by the server


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_pausing_running_some_steps_and_going_on_from_the_page(tmp_path):
    folder = tmp_path / "run"
    scope = Microscope(folder, serve=False, control=True, start_paused=True, ledger_every=3)
    model = made()
    thread = threading.Thread(target=train, args=(model, scope), daemon=True)
    thread.start()
    wait_for(lambda: state_of(folder).get("state") == "paused")
    with serving([folder], can_control=True) as server:

        def do(**command):
            status, _, body = asked(server, "/api/v1/runs/run/control", "POST", json.dumps(command).encode())
            return status, json.loads(body)

        def state():
            return json.loads(asked(server, "/api/v1/runs/run/control")[2])

        assert state()["state"] == "paused" and state()["step"] == 0 and state()["available"]
        assert do(do="run", steps=3)[1]["accepted"]
        wait_for(lambda: state()["step"] == 3 and state()["state"] == "paused")
        assert Run(folder).last_step == 3
        assert do(do="edit", layer="conv", weight="kernel", index=[0, 0, 0, 0], value=2.0)[0] == 200
        assert do(do="edit", layer="conv", weight="kernel", index=[9, 0, 0, 0], value=2.0)[0] == 400
        assert do(do="edit", layer="none", weight="kernel", index=[0], value=2.0)[0] == 404
        assert do(do="reset", layer="conv", filter=99)[0] == 400
        do(do="freeze", layer="flat")  # has no weights: the training says so
        wait_for(
            lambda: (state()["refused"] or {}).get("message", "").startswith("Layer 'flat' has no weights")
        )
        assert do(do="resume")[0] == 200
        thread.join(120)
        assert not thread.is_alive()
        assert state()["available"] is False
        assert do(do="pause")[0] == 409
    run = Run(folder)
    assert [e["kind"] for e in run.events if e["kind"] in ("paused", "resumed")] == [
        "resumed",
        "paused",
        "resumed",
    ]
    assert same_weights(model, train(made(), Interventions(run)))


def test_ctrl_c_reaches_a_training_that_waits(tmp_path):
    class Stop(Exception):
        pass

    folder = tmp_path / "run"
    scope = Microscope(folder, serve=False, control=True, start_paused=True)
    original = time.sleep

    def interrupted(seconds):
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kernelearn.recording.control.time.sleep", interrupted)
        with pytest.raises(Stop):
            train(made(), scope)
    assert time.sleep is original and why_not(folder) and not (folder / FOLDER).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_on_the_command_line_saves_a_training_that_waits(tmp_path):
    start = "import sys; from kernelearn.cli import main; sys.exit(main())"
    words = ["train", "digits", "--epochs", "1", "--watch", "--control", "--paused", "--no-browser", "--run"]
    process = subprocess.Popen(
        [sys.executable, "-c", start, *words, str(tmp_path / "run")], stderr=subprocess.PIPE
    )
    try:
        wait_for(lambda: state_of(tmp_path / "run" / "record").get("state") == "paused")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 130 and b"Go on with: kernelearn train --resume" in errors
    finally:
        process.kill()
        process.wait()


# --- resuming


def test_a_training_that_was_killed_and_resumed_keeps_what_still_holds(tmp_path):
    class Kill(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    folder = tmp_path / "run"
    commands = {2: [{"do": "learning_rate", "value": 0.2}], 3: [{"do": "freeze", "layer": "answer"}]}
    options = {"serve": False, "control": True, "ledger_every": 2}
    with pytest.raises(KeyboardInterrupt):
        train(
            made(),
            Hands(folder, commands),
            Microscope(folder, **options),
            BackupAndRestore(tmp_path / "backup"),
            Kill(),
        )
    resumed = train(made(), Microscope(folder, **options), BackupAndRestore(tmp_path / "backup"))
    run = Run(folder)
    assert run.last_step == 12 and run.is_frozen("answer", 11) and np.isclose(run.learning_rate(11), 0.2)
    assert same_weights(resumed, train(made(), Interventions(run)))


# --- what cannot be done


@pytest.mark.parametrize(
    "command, error, words",
    [
        (None, ArgumentError, "A command is an object"),
        ({}, ArgumentError, "A command is an object"),
        ({"do": 3}, ArgumentError, "A command is an object"),
        ({"do": "explode"}, UnknownNameError, "explode"),
        ({"do": "run"}, ArgumentError, "needs 'steps'"),
        ({"do": "run", "steps": 0}, ArgumentError, "whole number"),
        ({"do": "run", "steps": True}, ArgumentError, "whole number"),
        ({"do": "pause", "now": 1}, ArgumentError, "takes do"),
        ({"do": "learning_rate", "value": float("nan")}, ArgumentError, "finite"),
        (
            {"do": "edit", "layer": "a", "weight": "b", "index": [0.5], "value": 1},
            ArgumentError,
            "whole number",
        ),
        ({"do": "edit", "layer": "a", "weight": "b", "index": [], "value": 1}, ArgumentError, "list"),
        ({"do": "edit", "layer": "", "weight": "b", "index": [0], "value": 1}, ArgumentError, "name"),
    ],
)
def test_commands_that_are_none(command, error, words):
    with pytest.raises(error, match=words):
        check(command)


def test_nobody_listens_to_a_finished_run(tmp_path, small):
    with pytest.raises(ArgumentError, match="not being trained under control"):
        send(small[0].folder, {"do": "pause"})
    assert state_of(small[0].folder) == {}


def test_a_command_that_is_damaged_or_too_much_changes_nothing(tmp_path):
    folder = tmp_path / "run"

    class Litter(Callback):
        def on_train_batch_end(self, batch, logs=None):
            for name, content in (
                ("1.json", b"{"),
                ("2.json", b"[" * 200_000),
                ("3.json", b'{"do": "freeze", "layer": "none"}'),
            ):
                (folder / FOLDER / name).write_bytes(content)
            (folder / FOLDER / "notes.txt").write_bytes(b"hello")

    model = train(made(), Litter(), Microscope(folder, serve=False, control=True))
    assert same_weights(model, train(made())) and Run(folder).interventions == []


def test_freezing_all_that_is_trained_is_refused(tmp_path):
    commands = {1: [{"do": "freeze", "layer": "answer"}], 2: [{"do": "freeze", "layer": "conv"}]}
    _, run = watched(tmp_path / "run", commands)
    assert [(one.kind, one.layer) for one in run.interventions] == [("frozen", "answer")]


def test_wrong_ways_of_asking(tmp_path):
    with pytest.raises(ArgumentError, match="needs control=True"):
        Microscope(tmp_path / "run", start_paused=True)
    with pytest.raises(ArgumentError, match="takes a recorded run"):
        Interventions([1])
    with pytest.raises(ArgumentError, match="before the Recorder"):
        train(made(), Recorder(tmp_path / "run"), Interventions([]))
    model = made()
    with pytest.raises(ArgumentError, match="finite"):
        edit(model, 0, "conv", "kernel", (0, 0, 0, 0), float("inf"))
    with pytest.raises(ArgumentError, match="has no"):
        edit(model, 0, "conv", "kernel", (0, 0, 9, 0), 1.0)
    with pytest.raises(KernelearnError):
        train(made(), Interventions([Intervention("frozen", 1, "none")]))


def test_what_still_holds():
    rate = Intervention("learning rate", 1, rate=0.1)
    back = Intervention("learning rate", 2, rate=None)
    assert standing([rate]) == [rate] and standing([rate, back]) == []


def test_watching_alone_changes_nothing(tmp_path):
    scope = Microscope(tmp_path / "run", browser=False)
    said = []
    scope._say = said.append
    model = train(made(), scope)
    try:
        assert scope.url in said[0] and same_weights(model, train(made()))
        assert Run(tmp_path / "run").status == "finished" and not (tmp_path / "run" / FOLDER).exists()
    finally:
        scope.stop()
