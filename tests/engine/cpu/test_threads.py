"""Helper threads: any number, several users at once, forks, exits; and results that do not depend on them."""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from kernelearn.engine.cpu import schedule
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.runtime import POOL
from kernelearn.errors import ArgumentError
from kernelearn.training.steps.step_program import StepProgram
from tests.engine.cpu.harness import Bench, Problem
from tests.sweeps import some

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

X = np.arange(64 * 100, dtype="float32").reshape(64, 100)
SQUARED = Problem("multiply", (X, X), {})


@pytest.fixture(autouse=True)
def _threads(default_threads):
    yield


def helpers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("kernelearn-")]


# --- the number


def test_the_default_is_what_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr(threads, "_cpu_quota", lambda: None)
    assert threads.get_num_threads() == 6
    monkeypatch.setattr(threads, "_cpu_quota", lambda: 3)
    assert threads.get_num_threads() == 3


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": ""}, None),
        ({}, None),
    ],
)
def test_the_share_of_a_container_is_read(tmp_path, files, expected):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert threads._cpu_quota.__wrapped__(str(tmp_path)) == expected


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "many", "²", "257", "1e3"])
def test_an_environment_that_is_no_number_is_refused(monkeypatch, value):
    monkeypatch.setenv("KERNELEARN_NUM_THREADS", value)
    with pytest.raises(ArgumentError, match="KERNELEARN_NUM_THREADS must be a whole number from 1 to 256"):
        Bench(SQUARED).run()


def test_the_environment_counts_and_a_call_more(monkeypatch):
    monkeypatch.setenv("KERNELEARN_NUM_THREADS", " 3 ")
    assert threads.get_num_threads() == 3
    threads.set_num_threads(np.int64(5))
    assert threads.get_num_threads() == 5
    threads.set_num_threads(None)
    assert threads.get_num_threads() == 3
    monkeypatch.setenv("KERNELEARN_NUM_THREADS", "")
    assert threads.get_num_threads() == threads.available_cpus()


@pytest.mark.parametrize("count", [0, -1, 257, 2.0, True, "4"])
def test_a_number_that_is_none_is_refused(count):
    with pytest.raises(ArgumentError, match=r"whole number from 1 to 256, got"):
        threads.set_num_threads(count)


# --- jobs


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 70, 200])
def test_any_number_of_threads_gives_the_same(count):
    threads.set_num_threads(count)
    bench = Bench(SQUARED)
    for _ in range(3):
        np.testing.assert_array_equal(bench.run()[0], X * X)


def test_helpers_that_fell_asleep_wake_up_again():
    threads.set_num_threads(3)
    bench = Bench(SQUARED)
    for _ in range(5):
        np.testing.assert_array_equal(bench.run()[0], X * X)
        time.sleep(0.02)


def test_an_empty_batch():
    threads.set_num_threads(2)
    empty = X[:0]
    assert Bench(Problem("multiply", (empty, empty), {}, images=(0, 1))).run()[0].shape == (0, 100)


def test_the_number_may_change_between_runs():
    bench = Bench(SQUARED)
    for count in (1, 4, 2, 8, 1):
        threads.set_num_threads(count)
        np.testing.assert_array_equal(bench.run()[0], X * X)


def in_threads(*functions) -> None:
    """Run functions at the same time; raises what one of them raises."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    started = [threading.Thread(target=guarded, args=(f,)) for f in functions]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    if errors:
        raise errors[0]


def repeat(bench: Bench, factor: float, turns: int = 60):
    """A function that runs a program on inputs of its own and checks the results."""

    def work():
        inputs = {name: array * np.float32(factor) for name, array in bench.inputs.items()}
        expected = X * np.float32(factor) * (X * np.float32(factor))
        for _ in range(turns):
            np.testing.assert_array_equal(bench.executable.run(inputs)["y0"], expected)

    return work


def test_several_python_threads_share_one_program():
    threads.set_num_threads(2)
    bench = Bench(SQUARED)
    in_threads(*[repeat(bench, factor) for factor in (1, 2, 3, 4)])


def test_several_programs_run_at_the_same_time():
    threads.set_num_threads(3)
    in_threads(*[repeat(Bench(SQUARED), factor) for factor in (1, 2, 3, 4)])


def test_several_python_threads_compile_at_the_same_time(cache_folder):
    in_threads(*[lambda: Bench(SQUARED).run() for _ in range(4)])


def test_the_number_may_change_while_programs_run():
    def change():
        for count in [1, 2, 3, 4, 8] * 12:
            threads.set_num_threads(count)
            time.sleep(0.001)

    in_threads(repeat(Bench(SQUARED), 2, 150), repeat(Bench(SQUARED), 3, 150), change)


def test_a_system_that_starts_no_more_threads_is_served_by_fewer(monkeypatch):
    monkeypatch.setattr(threads, "_pool", threads.Pool())

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads.set_num_threads(4)
    np.testing.assert_array_equal(Bench(SQUARED).run()[0], X * X)


def until_asleep(pool, helpers):
    """Wait until so many helpers sleep; their flags."""
    flags = pool._block[POOL["asleep"] :: POOL["line"]][:helpers]
    deadline = time.monotonic() + 120
    while not flags.all():
        assert time.monotonic() < deadline, "the helpers did not fall asleep"
        time.sleep(0.01)
    return flags


def test_an_interrupt_while_helpers_are_woken_closes_the_job(monkeypatch):
    """Ctrl-C between opening a job and working on it must not leave helpers with memory that goes away."""
    pool = threads.Pool()
    monkeypatch.setattr(threads, "_pool", pool)
    threads.set_num_threads(3)
    bench = Bench(SQUARED)
    bench.run()
    until_asleep(pool, 2)

    class Interrupted:
        def put(self, value):
            raise KeyboardInterrupt

    queues, pool._queues = pool._queues, [Interrupted(), Interrupted()]
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert pool._block[POOL["ticket"]] == 0  # no job is open
    for waiting in queues:
        waiting.put(True)  # the flags of these helpers were cleared
    pool._queues = queues
    np.testing.assert_array_equal(bench.run()[0], X * X)
    pool.close()


class Queues(list):
    """The helpers' queues, and how often one of them was woken."""

    def __init__(self, queues):
        self.woken = 0
        super().__init__(queues)

    def __getitem__(self, number):
        self.woken += 1
        return super().__getitem__(number)


@pytest.mark.parametrize(("alone", "threads_"), [(0, 2), (1e9, 1)], ids=["some work", "hardly any work"])
def test_hardly_any_work_is_not_divided(monkeypatch, alone, threads_):
    pool, used = threads.Pool(), []
    run = pool.run
    monkeypatch.setattr(pool, "run", lambda job, count, *rest: (used.append(count), run(job, count, *rest)))
    monkeypatch.setattr(threads, "_pool", pool)
    monkeypatch.setattr(threads, "ALONE", alone)
    threads.set_num_threads(2)
    bench = Bench(SQUARED)
    for _ in range(3):
        np.testing.assert_array_equal(bench.run()[0], X * X)
    assert used == [2, 2, threads_]
    pool.close()


@pytest.mark.parametrize(
    ("short", "soon", "wakes"), [(1e9, 0, False), (1e9, 1e9, True), (0, 0, True)],
    ids=["little work", "little work again and again", "much work"],
)  # fmt: skip
def test_helpers_that_sleep_are_woken_for_what_is_worth_it(monkeypatch, short, soon, wakes):
    pool = threads.Pool()
    monkeypatch.setattr(threads, "_pool", pool)
    monkeypatch.setattr(threads, "ALONE", 0)
    threads.set_num_threads(2)
    bench = Bench(SQUARED)
    for _ in range(3):
        bench.run()
    monkeypatch.setattr(threads, "SHORT", short)
    monkeypatch.setattr(threads, "SOON", soon)
    asleep = until_asleep(pool, 1)
    pool._queues = Queues(pool._queues)
    np.testing.assert_array_equal(bench.run()[0], X * X)
    assert pool._queues.woken == int(wakes)
    assert wakes or asleep[0] == 1
    pool.close()


def test_a_first_run_is_not_taken_for_little_work(monkeypatch):
    """How much a program does is known from its second run on."""
    asked = []
    real = threads.Pool.run
    monkeypatch.setattr(threads.Pool, "run", lambda self, *job: asked.append(job[2]) or real(self, *job))
    monkeypatch.setattr(threads, "SHORT", 1e9)
    bench = Bench(SQUARED)
    for _ in range(4):
        bench.run()
    assert asked == [False, False, True, True]


def test_those_who_work_alone_do_not_disturb_each_other():
    threads.set_num_threads(1)
    in_threads(*[repeat(Bench(SQUARED), factor) for factor in (1, 2, 3, 4)])


def test_closing_ends_all_helpers_and_they_come_back():
    threads.set_num_threads(4)
    bench = Bench(SQUARED)
    bench.run()
    assert len(helpers()) >= 3
    threads.pool().close()
    assert helpers() == []
    np.testing.assert_array_equal(bench.run()[0], X * X)


# --- processes


def child_result(bench: Bench, queue) -> None:
    queue.put(float(bench.run()[0].sum()))


@needs_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_while_helpers_run():
    threads.set_num_threads(3)
    bench = Bench(SQUARED)
    bench.run()
    stop = threading.Event()

    def busy():
        other = Bench(SQUARED)
        while not stop.is_set():
            other.run()

    worker = threading.Thread(target=busy)
    worker.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                right = (bench.run()[0] == X * X).all() and (Bench(SQUARED).run()[0] == X * X).all()
                os._exit(0 if right else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        worker.join()


@needs_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_while_another_thread_runs_the_same_program():
    threads.set_num_threads(2)
    bench = Bench(SQUARED)
    with bench.executable._lock:  # as if another thread was in the middle of a run
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if (bench.run()[0] == X * X).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


@needs_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_processes_of_multiprocessing():
    threads.set_num_threads(2)
    bench = Bench(SQUARED)
    bench.run()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=child_result, args=(bench, queue))
    process.start()
    process.join(timeout=60)
    assert process.exitcode == 0
    assert queue.get() == float((X * X).sum())


PROGRAM = """
import threading, time, sys, numpy as np
from kernelearn.engine.cpu.machine import threads
from tests.engine.cpu.harness import Bench, Problem
threads.set_num_threads(4)
x = np.ones((64, 100), "float32")
bench = Bench(Problem("multiply", (x, x), {}))
bench.run()
"""


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "sys.exit(0)",
        "import atexit; atexit.register(bench.run)",
        "threading.Thread(target=lambda: [bench.run() for _ in range(50)]).start()",
        "threading.Thread(target=lambda: [bench.run() for _ in range(10**9)], daemon=True).start()\n"
        "time.sleep(0.1)",
    ],
    ids=["end", "exit", "run-at-exit", "thread", "daemon"],
)
def test_a_program_ends(ending):
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + ending], env=environment, timeout=60, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- the same weights


NETWORKS = {"lenet": (28, 28, 1), "vgg_small": (16, 16, 3), "resnet20": (16, 16, 3)}
# Each network and each number of images; all pairs of them are sixty more trainings.
PAIRS = (("vgg_small", 1), ("lenet", 5), ("resnet20", 13))


@pytest.mark.parametrize(("name", "images"), some(itertools.product(NETWORKS, (1, 5, 13)), quick=PAIRS))
def test_weights_are_bitwise_the_same_for_any_number_of_threads_and_chunks(monkeypatch, name, images):
    shape = NETWORKS[name]
    expected = trained(name, shape, images, 1)
    for count in (2, 3, 8):
        assert same(trained(name, shape, images, count), expected), f"{count} threads"
    for size in (1, 2, 5):
        monkeypatch.setattr(schedule, "chunk_size", lambda *args, size=size: size)
        assert same(trained(name, shape, images, 2), expected), f"{size} tasks at once"


def same(weights: list, others: list) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))


def trained(name: str, shape: tuple, images: int, count: int) -> list[np.ndarray]:
    """Weights after two steps, the last on fewer images."""
    from kernelearn.models import zoo
    from kernelearn.utils import set_random_seed

    threads.set_num_threads(count)
    set_random_seed(1)
    rng = np.random.default_rng(0)
    model = getattr(zoo, name)(shape, 4)
    model.compile("adam", "sparse_categorical_crossentropy", engine="reference")
    executable = model.step("train").executable
    model.programs.put(StepProgram("train", CpuExecutable(executable.program, executable.variables)))
    for rows in (images, max(images // 2, 1)):
        x, y = rng.random((rows, *shape)).astype("float32"), rng.integers(0, 4, rows)
        model.train_on_batch(x, y)
    return model.get_weights()
