"""Compiling in several threads: the same objects, whatever becomes of the helpers; the line of progress."""

import io
import itertools
import os
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from kernelearn.engine import progress
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.machine import cache, codegen, compiler, parallel, threads
from kernelearn.engine.cpu.machine.target import current_target
from kernelearn.models import zoo


@pytest.fixture(autouse=True)
def _three_threads(default_threads, cache_folder):
    """A fresh cache, and two helpers."""
    threads.set_num_threads(3)


def texts(count: int = 6) -> dict[str, str]:
    """Small modules, each with a function that gives its number."""
    return {f"f{i}": f"define i64 @f{i}() {{\n  ret i64 {100 + i}\n}}\n" for i in range(count)}


def compiled(modules: dict[str, str]) -> dict[str, bytes]:
    return parallel.compile_all(list(modules), modules.__getitem__, current_target())


def helpers() -> list[threading.Thread]:
    """Those that are alive."""
    return [t for t in threading.enumerate() if t.name == "kernelearn-compile"]


def numbers(blobs: dict[str, bytes]) -> dict[str, int]:
    """What the functions give."""
    import ctypes

    target = current_target()
    found = {}
    for name, blob in blobs.items():
        function = compiler.link([blob], target).function(name)
        found[name] = ctypes.CFUNCTYPE(ctypes.c_int64)(function.address)()
    return found


def until(is_so):
    """Wait for others, however busy the machine is."""
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def workers(monkeypatch):
    """Names of the threads that compiled, one for each module; each takes a while."""
    real, found = codegen.compile_object, []

    def slow(text, target):
        found.append(threading.current_thread().name)
        time.sleep(0.02)
        return real(text, target)

    monkeypatch.setattr(codegen, "compile_object", slow)
    return found


def check(modules: dict[str, str]) -> None:
    assert numbers(compiled(modules)) == {name: 100 + int(name[1:]) for name in modules}
    assert helpers() == []


def test_helpers_compile_with_the_caller(monkeypatch):
    """Nobody is done with a module before a helper and the caller have one."""
    real, workers = codegen.compile_object, set()

    def together(text, target):
        workers.add(threading.current_thread().name)
        until(lambda: workers == {"kernelearn-compile", threading.main_thread().name})
        return real(text, target)

    monkeypatch.setattr(codegen, "compile_object", together)
    check(texts(9))


def test_without_helpers(workers):
    threads.set_num_threads(1)
    check(texts())
    assert set(workers) == {threading.current_thread().name}


def test_one_module_needs_no_helper(workers):
    check(texts(1))
    assert workers == [threading.current_thread().name]


def test_helpers_begin_while_texts_are_written(workers):
    modules = texts(3)

    def text(name):
        if name == "f2":
            until(lambda: len(workers) == 2)
            assert workers == ["kernelearn-compile"] * 2
        return modules[name]

    parallel.compile_all(list(modules), text, current_target())


def test_threads_that_cannot_be_started(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    check(texts())


def test_several_threads_give_the_same_objects():
    model = zoo.lenet((8, 8, 1), 2)
    model.compile("sgd", "mse", engine="reference")
    step = model.step("train").executable
    executable = CpuExecutable(step.program, step.variables)
    found = []
    for count in (1, 4):
        threads.set_num_threads(count)
        compiler.forget()
        for path in cache.folder().glob("*.klo"):
            path.unlink()
        CpuExecutable(step.program, step.variables).compile()
        found.append({path.name: path.read_bytes() for path in cache.folder().glob("*.klo")})
    assert len(found[0]) > 10
    assert found[0] == found[1]
    assert executable.target == current_target()


@pytest.mark.parametrize("count", [1, 3])
def test_a_module_that_is_wrong_raises_here(count):
    threads.set_num_threads(count)
    with pytest.raises(RuntimeError, match="parsing error"):
        compiled({**texts(), "f": "define nonsense"})
    assert helpers() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_end_in_the_middle_ends_the_helpers(workers, error):
    modules = texts(9)

    def text(name):
        if name == "f8":
            raise error
        return modules[name]

    with pytest.raises(error):
        parallel.compile_all(list(modules), text, current_target())
    assert helpers() == []
    assert len(workers) < 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_can_compile_whatever_its_parent_was_compiling():
    body = "\n".join(f"  %v{i} = add i64 %v{i - 1}, %v{i - 1}" for i in range(1, 3000))
    long = f"define i64 @long(i64 %v0) {{\n{body}\n  ret i64 %v2999\n}}\n"
    other = threading.Thread(target=codegen.compile_object, args=(long, current_target()))
    other.start()
    child = os.fork()
    if child == 0:
        threads.set_num_threads(1)
        os._exit(0 if numbers(compiled(texts(2))) == {"f0": 100, "f1": 101} else 1)
    other.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_program_is_compiled_once_for_all(cache_folder):
    """Objects reach the disk cache: the next program finds all of them."""
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


@pytest.mark.parametrize("change", [{"LLVMPY_ParseAssembly": 7}, {"LLVMPY_NotThere": 1}])
def test_without_calls_as_expected_the_public_ones_are_used(monkeypatch, change):
    """Another version of llvmlite may have other calls inside: the same code is made without them."""
    expected = codegen.compile_object(texts(1)["f0"], current_target())
    monkeypatch.setattr(codegen, "_LONG_CALLS", codegen._LONG_CALLS | change)
    monkeypatch.setattr(codegen, "are_calls_known", codegen.are_calls_known.__wrapped__)
    assert not codegen.are_calls_known()
    assert codegen.compile_object(texts(1)["f0"], current_target()) == expected
    with pytest.raises(RuntimeError, match="parsing"):
        codegen.compile_object("no module", current_target())
    assert numbers(compiled(texts(5))) == {f"f{i}": 100 + i for i in range(5)}


# --- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal as stderr, no patience, and a second between two looks at the clock."""
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    threads.set_num_threads(1)
    screen = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=screen))
    return screen


def test_a_line_of_progress_comes_and_goes(terminal, workers):
    compiled(texts(3))
    text = terminal.getvalue()
    assert "\rCompiling 3 kernels for this processor, once: 1/3" in text
    assert text.endswith("\r\x1b[K")


def test_no_line_in_quiet_runs_short_ones_and_files(terminal, workers, monkeypatch):
    with progress.quiet(), progress.quiet(False):
        compiled(texts(2))
    monkeypatch.setattr(terminal, "isatty", lambda: False)
    compiled(texts(2))
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(progress, "PATIENCE", 60.0)
    compiled(texts(2))
    assert terminal.getvalue() == ""


def test_a_closed_or_missing_terminal_stops_nothing(terminal, workers, monkeypatch):
    def broken(text):
        raise OSError("Input/output error")

    monkeypatch.setattr(terminal, "write", broken)
    compiled(texts(2))
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=None))
    compiled(texts(2))


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
