"""Rules for all tests: settings are the same before each, and CI skips none whose data is there.

Compiled kernels are kept in .pytest_cache, so that no test leaves anything in the user's own cache. Byte code
is kept beside the source, whatever the environment says: the processes that tests start read it again.
"""

import functools
import gc
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import typer.main

from kernelearn import config
from tests.order import place_of

os.environ.setdefault(
    "KERNELEARN_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache/kernels")
)
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A shell lets what it starts in the background ignore Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The command line is the same at each call: its hundreds of options are made once, not at each.
typer.main.get_command = functools.cache(typer.main.get_command)
# Whatever a test ends, the machine goes on, and what was written is there: nothing has to wait for the disk.
os.fsync = lambda descriptor: None
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Long files first; within a file and among the others the order stays."""
    items.sort(key=lambda item: place_of(item.nodeid.partition("::")[0].removeprefix("tests/")))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """What is collected stays to the end: leave it out of what the garbage collector walks each time."""
    gc.collect()
    gc.freeze()
    # Tests make many small objects, and few circles of them: the young ones need fewer looks.
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="module")
def earlier_objects_left_out():
    """For tests of code that collects garbage: a collection walks what the file made, and not all that tests
    before it left in this process, which takes half a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_settings_for_each_test():
    """Every test starts from the same seeds and leaves float type, engine and threads as they were."""
    before = dict(config._state)
    config._state["seeds"] = np.random.SeedSequence(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - what scikit-learn draws from where no random_state is given
    yield
    config._state.update(before)
    threads = sys.modules.get("kernelearn.engine.cpu.machine.threads")
    if threads is not None:
        threads.set_num_threads(None)
        threads.share_cpus(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skip that blames missing shared data into a failure, where CI has that data."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _blames_data(report) and _must_run():
        report.outcome = "failed"
        report.longrepr = f"skipped although {SHARED_DATA} is there: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport) -> str:
    """Why the test was skipped; pytest keeps (path, line, reason)."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def _blames_data(report: pytest.TestReport) -> bool:
    return "shared" in _reason(report)


def _must_run() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true") and SHARED_DATA.is_dir()
