"""Fixtures of the tests of the CPU engine's machinery."""

import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from kernelearn.engine.cpu.machine import compiler, target, threads
from tests.engine.cpu.harness import EMULATED, NARROWER, has_target

# Every test compiles for the widest vectors. Narrower ones are left to the slow tests, but for these, each
# operator for one of the narrower targets: compiling is most of what they do.
ALWAYS = "test_examples"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests of narrower targets as slow."""
    for item in items:
        given = item.callspec.params if hasattr(item, "callspec") else {}
        target, is_here = given.get("target"), item.path.parent == Path(__file__).parent
        if target in NARROWER and is_here and not _is_always(item, target):
            item.add_marker(pytest.mark.slow)


def _is_always(item, target: str) -> bool:
    return item.originalname == ALWAYS and target == _narrower_of(item.callspec.params["operator"])


def _narrower_of(operator: str) -> str:
    """The one narrower target that an operator's examples are always compiled for."""
    return NARROWER[zlib.crc32(operator.encode()) % len(NARROWER)]


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    """An empty folder as the compile cache, and a process that has compiled nothing yet."""
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", str(tmp_path))
    compiler.forget()
    return tmp_path / "cpu"


@pytest.fixture
def emulated_tiles(monkeypatch):
    """A target, EMULATED: matrix tiles on memory, else the least that this processor has."""
    find = target.find_target
    made = replace(find("avx2" if has_target("avx2") else "baseline"), width=16, tiles="emulated")
    monkeypatch.setattr(target, "find_target", lambda name: made if name == EMULATED else find(name))


@pytest.fixture
def default_threads(monkeypatch):
    """No number of threads set, neither by a call nor by the environment; as before afterwards."""
    monkeypatch.delenv("KERNELEARN_NUM_THREADS", raising=False)
    threads.set_num_threads(None)
    yield
    threads.set_num_threads(None)
