"""Compiling in helper processes: the same objects, whatever becomes of the helpers; the line of progress."""

import io
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from kernelearn.engine import progress
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.machine import cache, compiler, parallel, threads, worker
from kernelearn.engine.cpu.machine.target import current_target
from kernelearn.models import zoo


@pytest.fixture(autouse=True)
def _two_threads(default_threads, cache_folder, monkeypatch):
    """A fresh cache, and helpers for the least work."""
    threads.set_num_threads(3)
    monkeypatch.setattr(parallel, "TEXT_PER_WORKER", 1)


def texts(count: int = 6) -> dict[str, str]:
    """Small modules, each with a function that gives its number."""
    return {f"f{i}": f"define i64 @f{i}() {{\n  ret i64 {100 + i}\n}}\n" for i in range(count)}


def numbers(blobs: dict[str, bytes]) -> dict[str, int]:
    """What the functions give."""
    import ctypes

    target = current_target()
    found = {}
    for name, blob in blobs.items():
        function = compiler.link([blob], target).function(name)
        found[name] = ctypes.CFUNCTYPE(ctypes.c_int64)(function.address)()
    return found


class Watched(worker.Worker):
    """A helper that says how many modules it compiled."""

    compiled = 0

    def compile(self, text, target):
        blob = super().compile(text, target)
        Watched.compiled += blob is not None
        return blob


@pytest.fixture
def slow_here(monkeypatch):
    """This process compiles slowly, so that the helpers get something to do."""
    real = compiler.compile_object

    def slow(text, target):
        time.sleep(0.2)
        return real(text, target)

    monkeypatch.setattr(compiler, "compile_object", slow)
    monkeypatch.setattr(parallel, "Worker", Watched)
    monkeypatch.setattr(Watched, "compiled", 0)


def check(modules: dict[str, str]) -> None:
    found = numbers(parallel.compile_all(modules, current_target()))
    assert found == {name: 100 + int(name[1:]) for name in modules}


def test_helpers_compile_the_same(slow_here):
    check(texts(8))
    assert Watched.compiled > 0


def test_without_helpers(monkeypatch):
    threads.set_num_threads(1)
    monkeypatch.setattr(parallel, "Worker", lambda: pytest.fail("no helper is wanted"))
    check(texts())


def test_little_work_starts_no_helper(monkeypatch):
    monkeypatch.setattr(parallel, "TEXT_PER_WORKER", 10**6)
    monkeypatch.setattr(parallel, "Worker", lambda: pytest.fail("not worth a process"))
    check(texts())


def test_a_frozen_application_is_not_started_again(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(parallel, "Worker", lambda: pytest.fail("this would start the application"))
    check(texts())


def test_processes_that_cannot_be_started(monkeypatch):
    def refuse(*args, **kwargs):
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    check(texts())


@pytest.mark.parametrize(
    "program",
    ["", "import sys; sys.exit(3)", "import sys; sys.stdin.buffer.read(100); sys.stdout.write('short')"],
    ids=["ends", "fails", "nonsense"],
)
def test_helpers_that_die(monkeypatch, slow_here, program):
    real = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **more: real([sys.executable, "-c", program], **more)
    )
    check(texts())


def test_a_module_that_is_wrong_raises_here(slow_here):
    with pytest.raises(RuntimeError, match="parsing error"):
        parallel.compile_all({"f": "define nonsense"}, current_target())


def test_an_interrupt_ends_the_helpers(monkeypatch):
    started = []

    class Kept(worker.Worker):
        def __init__(self):
            super().__init__()
            started.append(self._process)

    def interrupt(text, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(parallel, "Worker", Kept)
    monkeypatch.setattr(compiler, "compile_object", interrupt)
    with pytest.raises(KeyboardInterrupt):
        parallel.compile_all(texts(), current_target())
    assert started
    assert all(process.poll() is not None for process in started)


def test_a_program_is_compiled_once_for_all(cache_folder):
    """Helpers' objects reach the disk cache: the next program finds all of them."""
    model = zoo.lenet((8, 8, 1), 2)
    model.compile("sgd", "mse", engine="reference")
    program = model.step("predict").executable
    CpuExecutable(program.program, program.variables).compile()
    count = cache.size()[0]
    assert count > 3
    compiler.forget()
    executable = CpuExecutable(program.program, program.variables)
    before = dict.fromkeys(cache_folder.iterdir())
    executable.compile()
    assert dict.fromkeys(cache_folder.iterdir()) == before
    x = np.ones((2, 8, 8, 1), "float32")
    expected = program.run({"x_0": x})["y_pred_0"]
    np.testing.assert_allclose(executable.run({"x_0": x})["y_pred_0"], expected, rtol=1e-4, atol=1e-5)


# --- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal as stderr, and no patience."""
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    threads.set_num_threads(1)
    screen = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=screen))
    return screen


def test_a_line_of_progress_comes_and_goes(terminal, slow_here):
    parallel.compile_all(texts(3), current_target())
    text = terminal.getvalue()
    assert "\rCompiling 3 kernels for this processor, once: 1/3" in text
    assert text.endswith("\r\x1b[K")


def test_no_line_in_quiet_runs_short_ones_and_files(terminal, slow_here, monkeypatch):
    with progress.quiet(), progress.quiet(False):
        parallel.compile_all(texts(2), current_target())
    monkeypatch.setattr(terminal, "isatty", lambda: False)
    parallel.compile_all(texts(2), current_target())
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(progress, "PATIENCE", 60.0)
    parallel.compile_all(texts(2), current_target())
    assert terminal.getvalue() == ""


def test_a_closed_or_missing_terminal_stops_nothing(terminal, slow_here, monkeypatch):
    def broken(text):
        raise OSError("Input/output error")

    monkeypatch.setattr(terminal, "write", broken)
    parallel.compile_all(texts(2), current_target())
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=None))
    parallel.compile_all(texts(2), current_target())


def test_training_without_messages_is_quiet(monkeypatch, terminal):
    model = zoo.lenet((8, 8, 1), 2)
    x, y = np.zeros((2, 8, 8, 1), "float32"), np.zeros(2, int)
    model.compile("sgd", "sparse_categorical_crossentropy", engine="cpu")
    model.fit(x, y, verbose=0)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    assert terminal.getvalue() == ""
    compiler.forget()
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", "off")
    model.compile("sgd", "sparse_categorical_crossentropy", engine="cpu")
    model.fit(x, y, verbose=2)
    assert "Compiling" in terminal.getvalue()
