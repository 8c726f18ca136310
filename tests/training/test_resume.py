"""A run that is killed, interrupted or stopped by a full disk loses nothing: real processes, real signals."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from kernelearn.formats import native
from kernelearn.training.interrupts import Interrupts
from tests.sweeps import some

PROGRAM = Path(__file__).parent / "resume_program.py"
PAUSE = 0.005
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}


def start(result, folder, save_freq, pause=0.0):
    arguments = [sys.executable, str(PROGRAM), str(result), str(folder), str(save_freq), str(pause)]
    with open(f"{result}.err", "w") as errors:
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=errors, text=True, env=ENVIRONMENT)


def wait_for_batches(process, count):
    """Read until the program has trained so many batches; the number that it did train if it ended before."""
    for done in range(count):
        if "batch" not in process.stdout.readline():
            return done
    return count


def finish(process):
    """Exit code, what is left of the output, and the errors."""
    out = process.stdout.read()
    process.stdout.close()
    code = process.wait(timeout=60)
    return code, out, Path(f"{process.args[2]}.err").read_text()


def results(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run that is left alone ends with, and the folder with its files."""
    folder = tmp_path_factory.mktemp("whole")
    code, out, err = finish(start(folder / "r.npz", folder / "backup", "epoch"))
    assert code == 0, err
    assert out.count("batch") > 30
    return folder, results(folder / "r.npz")


def check_same(folder, whole):
    """Weights, history, optimizer steps, CSV and best model of a run are bitwise those of the whole one."""
    whole_folder, expected = whole
    found = results(folder / "r.npz")
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert found[name].tobytes() == value.tobytes(), f"{name} differs"
    for name in ("r.csv", "r.kernelearn"):
        assert (folder / name).read_bytes() == (whole_folder / name).read_bytes(), f"{name} differs"
    assert not (folder / "backup").exists()


def position(folder):
    """Epoch and batch of the state on the disk; None if there is none yet."""
    path = folder / "backup" / "checkpoint.kernelearn"
    if not path.exists():
        return None
    fit = native.read_config(path)["training"]["fit"]
    return fit["epoch"], fit["batch"]


@pytest.mark.parametrize("kills", some([5, 16], quick=[5]))
def test_a_run_killed_at_random_moments_ends_bitwise_as_one_that_was_not(tmp_path, whole, kills):
    rng = random.Random(8)
    positions = []
    for _ in range(kills):
        process = start(tmp_path / "r.npz", tmp_path / "backup", rng.choice([1, 2, 3, "epoch"]), PAUSE)
        wait_for_batches(process, rng.choice([0, 2, 3, 5, 8]))
        time.sleep(rng.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        code, _, err = finish(process)
        assert code == -signal.SIGKILL, f"the run ended before it was killed: {err}"
        positions.append(position(tmp_path))
    # The kills are worth something only if they hit many moments, also in the middle of epochs.
    assert len(set(positions)) >= kills * 3 // 8, positions
    assert len({p for p in positions if p and p[1] > 0}) >= kills * 3 // 16, positions
    code, out, err = finish(start(tmp_path / "r.npz", tmp_path / "backup", 3))
    assert code == 0, err
    assert out.count("batch") < int(whole[1]["optimizer_steps"]), (
        "the last start should not train it all again"
    )
    check_same(tmp_path, whole)


@pytest.mark.parametrize(
    ("number", "code"),
    some([(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)], quick=1),
)
def test_an_interrupted_run_saves_its_state_and_goes_on(tmp_path, whole, number, code):
    """Backups are due at the ends of epochs: what is in the middle of one is saved by the interrupt."""
    process = start(tmp_path / "r.npz", tmp_path / "backup", "epoch", PAUSE)
    assert wait_for_batches(process, 10) == 10
    process.send_signal(number)
    ended_with, out, err = finish(process)
    assert ended_with == code, err
    assert "Stopping after this batch" in err
    assert f"The run is saved in {str(tmp_path / 'backup')!r}" in out
    assert os.listdir(tmp_path / "backup") == ["checkpoint.kernelearn"]
    already = 10 + out.count("batch\n")
    ended_with, out, err = finish(start(tmp_path / "r.npz", tmp_path / "backup", "epoch"))
    assert ended_with == 0, err
    assert already + out.count("batch\n") == int(whole[1]["optimizer_steps"]), "a batch was trained twice"
    check_same(tmp_path, whole)


def test_a_backup_folder_that_cannot_be_written_is_reported_before_the_first_step(tmp_path):
    (tmp_path / "backup").write_bytes(b"")
    code, out, err = finish(start(tmp_path / "r.npz", tmp_path / "backup", "epoch"))
    assert code == 1
    assert "batch" not in out
    assert "StorageError: " in err.splitlines()[-1]
    assert "a file is in the way" in err.splitlines()[-1]


def can_mount():
    """Whether a subprocess can make a file system of its own, which nobody else sees."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "-r", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs private mounts (Linux, unshare -m -r)")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("size=64k", r"needs 1\.0 MB, but only .* kB are free"),
        ("ro", "permission denied|read-only file system"),
    ],
)
def test_a_full_or_read_only_disk_is_reported_before_the_first_step(tmp_path, options, message):
    """The disk is a real one, of 64 kB or mounted read-only, that only this process sees."""
    disk = tmp_path / "disk"
    disk.mkdir()
    program = [sys.executable, str(PROGRAM), str(tmp_path / "r.npz"), str(disk), "epoch", "0"]
    command = f'mount -t tmpfs -o {options} none "$0" && exec "$@"'
    arguments = ["unshare", "-m", "-r", "sh", "-c", command, str(disk), *program]
    done = subprocess.run(arguments, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 1
    assert "batch" not in done.stdout
    assert re.search(f"StorageError: .*({message})", done.stderr.splitlines()[-1])


# The handling of signals by itself


@pytest.fixture
def interrupts():
    watching = Interrupts()
    watching.watch()
    yield watching
    watching.stop_watching()


def test_the_first_interrupt_is_noted_and_delivered_when_asked(interrupts, capsys):
    signal.raise_signal(signal.SIGINT)
    assert interrupts.requested == signal.SIGINT
    assert "Stopping after this batch" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        interrupts.deliver()
    assert interrupts.requested is None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_interrupt_stops_at_once(interrupts):
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_sigterm_ends_with_the_code_that_shells_use(interrupts):
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        interrupts.deliver()
    assert caught.value.code == 143


def test_handlers_of_others_stay():
    def mine(number, frame):
        pass

    before = signal.signal(signal.SIGINT, mine)
    try:
        watching = Interrupts()
        watching.watch()
        assert signal.getsignal(signal.SIGINT) is mine
        watching.stop_watching()
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_watches_nothing():
    watching = Interrupts()
    thread = threading.Thread(target=watching.watch)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_is_delivered_when_nothing_came(interrupts):
    interrupts.deliver()
