"""Fixtures of the tests of the CPU engine's machinery."""

import pytest

from kernelearn.engine.cpu.machine import compiler, threads


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    """An empty folder as the compile cache, and a process that has compiled nothing yet."""
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", str(tmp_path))
    compiler.forget()
    return tmp_path / "cpu"


@pytest.fixture
def default_threads(monkeypatch):
    """No number of threads set, neither by a call nor by the environment; as before afterwards."""
    monkeypatch.delenv("KERNELEARN_NUM_THREADS", raising=False)
    threads.set_num_threads(None)
    yield
    threads.set_num_threads(None)
