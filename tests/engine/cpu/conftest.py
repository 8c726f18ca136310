"""Fixtures of the tests of the CPU engine's machinery."""

from pathlib import Path

import pytest

from kernelearn.engine.cpu.machine import compiler, threads
from tests.engine.cpu.harness import NARROWER

# Every test compiles for the widest vectors. Narrower ones are left to the slow tests, but for these.
ALWAYS = "test_examples"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests of narrower targets as slow."""
    for item in items:
        target = getattr(item, "callspec", None) and item.callspec.params.get("target")
        if target in NARROWER and item.path.parent == Path(__file__).parent and item.originalname != ALWAYS:
            item.add_marker(pytest.mark.slow)


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
