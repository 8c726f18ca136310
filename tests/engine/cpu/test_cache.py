"""The compile cache: damaged, foreign, read-only or full, it costs time and never gives a wrong result."""

import errno
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from kernelearn.engine.cpu.machine import cache, codegen, compiler
from kernelearn.engine.cpu.plan import Call
from kernelearn.errors import ArgumentError
from tests.engine.cpu.harness import Bench, Problem

posix = pytest.mark.skipif(sys.platform == "win32", reason="rights of files as POSIX has them")
X = np.arange(24, dtype="float32").reshape(2, 12)
DOUBLED = Problem("add", (X, X), {})


def run() -> None:
    """Compile and run a small program with an empty process cache; its result must be right."""
    compiler.forget()
    np.testing.assert_array_equal(Bench(DOUBLED).run()[0], 2 * X)


@pytest.fixture
def compiled(monkeypatch):
    """List that grows by one for every object that is compiled and not read."""
    found = []
    real = codegen.compile_object
    monkeypatch.setattr(codegen, "compile_object", lambda *a: found.append(1) or real(*a))
    return found


@pytest.fixture
def entry(cache_folder, compiled):
    """The file of the only kernel."""
    run()
    (call,) = [c for c in Bench(DOUBLED).executable.calls() if isinstance(c, Call)]

    digest = compiler.entry_digest(call.key, Bench(DOUBLED).executable.target)
    path = cache_folder / f"{digest}{cache.SUFFIX}"
    assert path.is_file()
    compiled.clear()
    return path


def test_a_kernel_is_compiled_once(entry, compiled):
    run()
    assert compiled == []


def test_entries_are_private(entry):
    assert entry.stat().st_mode & 0o077 == 0
    assert entry.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b[: len(b) // 2],
        lambda b: b[:-1],
        lambda b: b + b"\0",
        lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:],
        lambda b: b[:30] + bytes([b[30] ^ 1]) + b[31:],
        lambda b: b"something else" * 50,
    ],
    ids=["empty", "half", "truncated", "longer", "bit-in-object", "bit-in-seal", "foreign"],
)
def test_a_damaged_entry_is_rebuilt(entry, compiled, damage):
    good = entry.read_bytes()
    entry.write_bytes(damage(good))
    run()
    assert compiled == [1]
    assert entry.read_bytes()[: len(cache.MAGIC)] == cache.MAGIC
    compiled.clear()
    run()
    assert compiled == []


def test_an_entry_under_another_name_does_not_count(entry, compiled):
    other = entry.with_name("0" * 64 + cache.SUFFIX)
    other.write_bytes(entry.read_bytes())
    assert cache.read("0" * 64) is None


def test_a_folder_in_the_place_of_an_entry_costs_time_only(entry, compiled):
    entry.unlink()
    entry.mkdir()
    run()
    assert compiled == [1]


@posix
def test_a_pipe_in_the_place_of_an_entry_does_not_block(entry, compiled):
    entry.unlink()
    os.mkfifo(entry)
    run()
    assert compiled == [1]


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o757])
def test_what_others_may_write_is_ignored(entry, compiled, mode):
    entry.parent.chmod(mode)
    before = entry.read_bytes()
    run()
    assert compiled == [1]
    assert "chmod 700" in cache.state()
    assert entry.read_bytes() == before


@posix
def test_an_entry_that_others_may_write_is_replaced(entry, compiled):
    entry.chmod(0o666)
    run()
    assert compiled == [1]
    assert entry.stat().st_mode & 0o077 == 0


@posix
def test_an_entry_of_another_user_is_ignored(entry, compiled, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: entry.stat().st_uid + 1)
    run()
    assert compiled == [1]


@posix
def test_a_named_folder_may_be_open_to_others(tmp_path, monkeypatch, compiled):
    """The engine's own folder within it is private."""
    tmp_path.chmod(0o777)
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", str(tmp_path))
    compiler.forget()
    assert cache.state() == "ok"
    run()
    compiled.clear()
    run()
    assert compiled == []


def test_a_folder_that_cannot_be_made_costs_time_only(tmp_path, monkeypatch, compiled):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", str(tmp_path / "file" / "below"))
    compiler.forget()
    run()
    run()
    assert compiled == [1, 1]
    assert "not writable" in cache.state()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("place", ["tempfile.mkstemp", "os.replace"])
def test_a_full_or_read_only_disk_costs_time_only(cache_folder, monkeypatch, compiled, code, place):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(f"kernelearn.engine.cpu.machine.cache.{place}", fail)
    run()
    monkeypatch.undo()
    assert not list(cache_folder.glob("*")) or place == "os.replace"
    assert not list(cache_folder.glob(f"*{cache.PART}"))


def test_a_disk_that_fills_up_while_writing_leaves_nothing_behind(cache_folder, monkeypatch):
    class Full:
        def __init__(self, handle, mode):
            self.handle = handle

        def __enter__(self):
            return self

        def __exit__(self, *error):
            os.close(self.handle)

        def write(self, content):
            os.write(self.handle, content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.os, "fdopen", Full)
    run()
    assert list(cache_folder.iterdir()) == []


def test_the_disk_cache_can_be_switched_off(tmp_path, monkeypatch, compiled):
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", "off")
    compiler.forget()
    monkeypatch.chdir(tmp_path)
    run()
    run()
    assert compiled == [1, 1]
    assert list(tmp_path.iterdir()) == []
    assert cache.state().startswith("off")


def test_a_user_without_a_home_gets_no_disk_cache(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("KERNELEARN_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(cache.Path, "home", no_home)
    assert cache.folder() is None
    assert not cache.has("x")
    assert cache.read("x") is None
    cache.write("x", b"")
    cache.shrink()


def put(folder, name: str, size: int, age: float) -> None:
    path = folder / name
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age,) * 2)


def test_the_longest_unused_entries_go_first(cache_folder):
    cache_folder.mkdir(mode=0o700)
    for number in range(5):
        put(cache_folder, f"{number}{cache.SUFFIX}", 100, age=100 * number)
    put(cache_folder, "note.txt", 1000, age=10**6)
    cache.shrink(limit=250)
    assert sorted(p.name for p in cache_folder.iterdir()) == ["0.klo", "1.klo", cache.STAMP, "note.txt"]
    assert cache.size() == (2, 200)


def test_what_a_crash_left_half_written_goes_after_an_hour(cache_folder):
    cache_folder.mkdir(mode=0o700)
    put(cache_folder, f"old{cache.PART}", 10, age=4000)
    put(cache_folder, f"new{cache.PART}", 10, age=10)
    cache.shrink()
    assert [p.name for p in cache_folder.glob(f"*{cache.PART}")] == [f"new{cache.PART}"]


def test_the_first_entry_that_a_process_writes_keeps_the_folder_small(cache_folder, monkeypatch):
    cache_folder.mkdir(mode=0o700)
    put(cache_folder, f"big{cache.SUFFIX}", 2**20, age=100)
    monkeypatch.setattr(cache, "_allowance", None)
    monkeypatch.setenv("KERNELEARN_CACHE_MB", "1")
    run()
    assert not (cache_folder / f"big{cache.SUFFIX}").exists()
    assert cache.size()[0] >= 1


@pytest.mark.parametrize(("age", "looks"), [(60, 0), (4000, 1), (-4000, 1)])
def test_processes_look_at_the_folder_once_in_an_hour(cache_folder, monkeypatch, age, looks):
    found = []
    cache_folder.mkdir(mode=0o700)
    put(cache_folder, cache.STAMP, 0, age)
    monkeypatch.setattr(cache, "shrink", lambda: found.append(1))
    monkeypatch.setattr(cache, "_allowance", None)
    cache.write("0" * 64, bytes(1000))
    assert len(found) == looks


def test_the_folder_is_looked_at_again_when_much_was_written(cache_folder, monkeypatch):
    found = []
    real = cache.shrink
    monkeypatch.setattr(cache, "shrink", lambda: found.append(1) or real())
    monkeypatch.setattr(cache, "_allowance", None)
    monkeypatch.setenv("KERNELEARN_CACHE_MB", "1")
    for number in range(12):
        cache.write(f"{number:064d}", bytes(100_000))
    assert 3 < len(found) < 12
    assert 8 * 100_000 < cache.size()[1] <= 2**20


def test_a_limit_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("KERNELEARN_CACHE_MB", "lots")
    with pytest.raises(ArgumentError, match=r"KERNELEARN_CACHE_MB.*'lots'"):
        cache.max_bytes()


def test_reading_makes_an_entry_recently_used(entry):
    os.utime(entry, (1, 1))
    run()
    assert entry.stat().st_mtime > 10**6


SCRIPT = """
import numpy as np
from tests.engine.cpu.harness import Bench, Problem
for size in range(1, 9):
    x = np.arange(2 * size, dtype="float32").reshape(2, size)
    assert (Bench(Problem("multiply", (x, x), {})).run()[0] == x * x).all()
"""


def test_several_processes_share_a_cache(cache_folder):
    environment = {
        **os.environ,
        "KERNELEARN_CACHE_DIR": str(cache_folder.parent),
        "OPENBLAS_NUM_THREADS": "1",
    }
    jobs = [subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment) for _ in range(3)]
    assert [job.wait(timeout=120) for job in jobs] == [0, 0, 0]
    assert not list(cache_folder.glob(f"*{cache.PART}"))
    for path in cache_folder.glob(f"*{cache.SUFFIX}"):
        assert cache.read(path.stem) is not None
