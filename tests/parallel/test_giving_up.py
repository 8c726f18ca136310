"""Real processes of which one gives up what all do: the others end, or go on where all catch it."""

import ast
import functools
import re
from pathlib import Path

import pytest

from tests.parallel.mpi import needs_mpi, run

pytestmark = needs_mpi
PROGRAM = Path(__file__).with_name("giving_up.py")


@functools.cache
def wanted():
    """The hash of one process to which nothing happens."""
    code, out, err = run(1, PROGRAM, "nothing")
    assert code == 0, err
    return out.split()[-1]


def test_all_that_catch_an_error_of_one_go_on_with_the_same_bits():
    code, out, err = run(2, PROGRAM, "caught")
    assert code == 0, err
    told = re.findall(r"^met ([a-z ]+) (\[.*)$", out, re.MULTILINE)
    met = {name: ast.literal_eval(said) for name, said in told}
    ranks = {"step": 1, "begin": 0, "end": 1, "validation": 0, "last": 1, "evaluate": 1}
    for name, rank in ranks.items():
        own = met[name].pop(rank)
        assert own.startswith("ValueError: ")
        for other in met[name]:
            assert f"ProcessError: Process {rank} gave up what all processes do together, with {own}" in other
    for name, rank, begins in (("inside", 1, "begins a fit"), ("inside batch", 0, "trains on a batch")):
        own = met[name].pop(rank)
        assert f"A process {begins} inside of what all processes do together" in own
        assert all(f"ProcessError: Process {rank} gave up" in other for other in met[name])
    assert all("A process begins a fit inside of what all" in said for said in met["inside alike"])
    assert {said.partition(":")[0] for said in met["interrupt"]} == {"KeyboardInterrupt"}
    assert set(met["exit"]) == {"SystemExit: 7"}
    assert set(met["alike"]) == {"ValueError: all"}, "what all meet by themselves is their own error"
    assert "batch same" in out
    assert out.split()[-1] == wanted()


def test_more_that_catch_it_in_shared_memory_go_on_with_the_same_bits():
    code, out, err = run(3, PROGRAM, "caught", "step", "evaluate", "inside", "batch", PROGRAM_ON_BOARD="1")
    assert code == 0, err
    told = [ast.literal_eval(said) for said in re.findall(r"^met [a-z ]+ (\[.*)$", out, re.MULTILINE)]
    assert len(told) == 4
    for met in told[:3]:
        assert sum("ProcessError: Process 1 gave up" in one for one in met) == 2
    assert "batch same" in out
    assert out.split()[-1] == wanted()


@pytest.mark.parametrize("scenario", ["apart", "ended"])
def test_an_error_that_one_process_alone_catches_ends_all(scenario):
    """Caught by one that then does something else for ten minutes, and by one that ends."""
    code, out, err = run(2, PROGRAM, scenario)
    assert (code, "hash" in out) == (1, False), err
    assert "Process 1 gave up what all processes do together, with ValueError: a picture was bad" in err


def test_another_number_of_trainings_ends_all():
    code, out, err = run(2, PROGRAM, "more")
    assert (code, "hash" in out) == (1, False), err
    assert "while process 1 begins a fit: each waits for the other" in err


def test_ctrl_c_is_answered_by_the_first_process():
    code, out, err = run(2, PROGRAM, "ctrl-c 0")
    assert (code, "hash" in out) == (130, False), err
    code, out, err = run(2, PROGRAM, "ctrl-c 1")
    assert (code, out.split()[-1]) == (0, wanted()), err
