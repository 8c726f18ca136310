"""The same bits for 1, 2, 3, 4 and 6 processes, each with 1, 2 and 3 threads, and without MPI: see `grid`."""

import functools
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernelearn import losses, optimizers
from tests.parallel import grid
from tests.parallel.mpi import environment, needs_mpi, run

PROGRAM = Path(grid.__file__)
# One case for each way in which shards exchange and are put together. The others differ in what a shard
# computes, or in what is done with whole gradients.
QUICK = [
    *("Adam", "Nadam", "Lion", "mixed synchronized", "rounded", "sum", "weighted"),
    *("two outputs", "own loss", "own step", "odd shards", "tiny batches"),
]
# For more processes than processors, which wait for each other at every message.
FEW = ["Adam", "mixed synchronized", "rounded", "own step", "odd shards"]


def hashes_of(out):
    (line,) = [line for line in out.splitlines() if line.startswith("hashes ")]
    return json.loads(line.removeprefix("hashes "))


@functools.cache
def wanted(names=tuple(QUICK)):
    """Case -> its hash, of one process that knows nothing of MPI."""
    words = [sys.executable, str(PROGRAM), "1", *names]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True, timeout=300)
    return {name: of_one["1"] for name, of_one in hashes_of(done.stdout).items()}


def check(size, counts, names):
    code, out, err = run(size, PROGRAM, ",".join(map(str, counts)), *names, seconds=500)
    assert code == 0, err
    alone = wanted() if set(names) <= set(QUICK) else wanted(tuple(names))
    expected = {name: {str(count): alone[name] for count in counts} for name in names}
    assert hashes_of(out) == expected


@needs_mpi
@pytest.mark.parametrize(("size", "counts", "names"), [(2, (2,), QUICK), (3, (1,), FEW)])
def test_processes_and_threads_do_not_change_a_bit(size, counts, names):
    check(size, counts, names)


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_the_whole_grid(size):
    check(size, (1, 2, 3), list(grid.cases()))


def test_cases_differ():
    """Or the tests above would compare a training with itself."""
    assert len(set(wanted().values())) == len(wanted())


@pytest.mark.parametrize(
    ("family", "kind", "listed"),
    [
        (optimizers, optimizers.Optimizer, {*grid.OPTIMIZERS}),
        (losses, losses.Loss, {*grid.LOSSES, "CTC"}),
    ],
)
def test_every_one_is_in_the_grid(family, kind, listed):
    found = {name: getattr(family, name) for name in family.__all__}
    classes = {n for n, one in found.items() if inspect.isclass(one) and issubclass(one, kind)}
    assert classes - {kind.__name__} == listed
