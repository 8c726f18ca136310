"""Real processes under mpiexec: the same bits for 1, 2 and 3, and the end of all when one fails."""

import functools
from pathlib import Path

import numpy as np
import pytest

from tests.parallel.mpi import needs_mpi, run
from tests.sweeps import some

pytestmark = needs_mpi
PROGRAM = Path(__file__).with_name("program.py")


@functools.cache
def wanted():
    """The hash of one process."""
    return hash_of(run(1, PROGRAM, "-"))


def hash_of(result):
    code, out, err = result
    assert code == 0, err
    lines = [line for line in out.splitlines() if line.startswith("hash ")]
    assert len(lines) == 1, out
    return lines[0].removeprefix("hash ")


@pytest.mark.parametrize(("size", "options"), [(2, {}), (3, {"PROGRAM_ON_BOARD": "1"})])
def test_any_number_of_processes_gives_the_same_bits(size, options):
    assert hash_of(run(size, PROGRAM, "-", KERNELEARN_NUM_THREADS=str(4 - size), **options)) == wanted()


def test_shared_memory_and_messages_give_the_same_sums():
    code, out, err = run(3, PROGRAM.with_name("exchanging.py"))
    assert (code, out) == (0, "found same\n"), err


def test_processes_with_other_processors_compile_for_what_all_have():
    """Forced by rank, as if the second had a lesser processor."""
    found = run(2, PROGRAM, "-", PROGRAM_TARGETS="native baseline", PYTHONWARNINGS="default")
    assert hash_of(found) == hash_of(run(1, PROGRAM, "-", KERNELEARN_CPU_TARGET="baseline"))
    assert hash_of(found) != wanted()
    assert found[2].count("All compile for baseline") == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    some(
        [
            ("data", "what differs: the training data"),
            ("network", "what differs: .*the network"),
            ("epochs", r"what differs: the epochs \(0 to 2 and 0 to 3\)"),
            ("labels", "Process 1 cannot begin, so that no other does: DataError: .*classes"),
            ("weights", "what differs: the weights .*, which something has set on one process alone"),
        ],
        quick=3,
    ),
)
def test_processes_that_train_something_else_are_refused(fault, said):
    import re

    code, _, err = run(2, PROGRAM, "-", fault)
    assert code == 1
    assert re.search(said, err)
    assert err.count("an error ends the training of all") == 1


def test_an_error_of_one_process_ends_all_with_its_message():
    code, out, err = run(3, PROGRAM, "-", "raise", 1, 2)
    assert code == 1
    assert "hash" not in out
    assert "process 1 of 3: an error ends the training of all" in err
    assert err.count("ValueError: a picture was bad") == 1


def check_killed_and_resumed(folder, size, fault, size_after, **options):
    code, out, err = run(size, PROGRAM, folder, *fault, **options)
    assert code != 0, err
    assert "hash" not in out
    assert hash_of(run(size_after, PROGRAM, folder)) == wanted()
    assert not folder.exists(), "what was saved on the way is left behind"


FILES = """
import os, pathlib, kernelearn
from mpi4py import MPI
together = kernelearn.distribute()
lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
together.all_say([])
names = {line.split("/dev/shm/")[1].split()[0] for line in lines if "/dev/shm/mpich" in line}
opened, left = len(names), sorted(names & set(os.listdir("/dev/shm")))
said = together.all_say((opened > 0 or "MPICH" not in MPI.Get_library_version(), left))
if together.rank == 0:
    print("found", said, flush=True)
together.all_say([])
os.kill(os.getpid(), 9) if together.rank else together.all_say([])
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells which files are open")
@pytest.mark.parametrize("size", [1, 2])
def test_a_killed_job_leaves_no_memory_behind(size):
    """MPICH would remove its files at the end, which killed processes do not come to; it opens some."""
    _, out, err = run(size, "-c", FILES)
    assert f"found {[(True, [])] * size}" in out.splitlines(), out + err


# Who is killed behind which step, and how many go on.
KILLED = [(0, 4, 3), (1, 5, 3), (0, 4, 1), (1, 5, 1)]


@pytest.mark.parametrize(("rank", "step", "after"), some(KILLED, quick=1))
def test_a_killed_process_ends_all_and_another_number_goes_on(tmp_path, rank, step, after):
    check_killed_and_resumed(tmp_path / "b", 2, ("kill", rank, step), after)


@pytest.mark.parametrize("rank", some([0, 1], quick=1))
def test_a_process_that_is_held_up_is_waited_for(rank):
    assert hash_of(run(2, PROGRAM, "-", "hold", rank, 3, PROGRAM_ON_BOARD="1")) == wanted()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(30))
def test_any_process_killed_at_any_moment(tmp_path, number):
    random = np.random.default_rng(number)
    size = int(random.integers(2, 5))
    rank, step, after = random.integers(size), random.integers(7), random.integers(1, 5)
    options = {"PROGRAM_ON_BOARD": "1"} if number % 2 else {}
    fault = ("kill in", rank, step, random.uniform(0, 0.004))
    check_killed_and_resumed(tmp_path / "b", size, fault, int(after), **options)


def test_a_request_to_stop_saves_and_ends_all(tmp_path):
    code, out, err = run(2, PROGRAM, tmp_path / "b", "stop", 0, 3)
    assert code == 143, err
    assert "The run is saved" in out
    assert hash_of(run(1, PROGRAM, tmp_path / "b")) == wanted()


def test_estimators_callbacks_evaluation_and_prediction(tmp_path):
    found = []
    for size in (1, 2):
        folder = tmp_path / str(size)
        folder.mkdir()
        result = run(size, PROGRAM.with_name("everything.py"), folder)
        assert "files best.kernelearn history.csv" in result[1], result[2]
        found.append(hash_of(result))
    assert found[0] == found[1]


def test_weights_of_the_first_process_count():
    alone = hash_of(run(1, PROGRAM, "-", PROGRAM_SEED="7"))
    assert hash_of(run(2, PROGRAM, "-", PROGRAM_SEED="7")) == alone
