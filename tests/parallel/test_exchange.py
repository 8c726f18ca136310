"""The exchange of several processes gives what one process computes, bit by bit."""

import time

import numpy as np
import pytest

from kernelearn.errors import ArgumentError
from kernelearn.parallel import meeting, rounding, world
from kernelearn.parallel.exchange import Alone, OverMPI
from kernelearn.parallel.shared_memory import Board
from kernelearn.parallel.tree import cover, halves, share_of, value_of
from kernelearn.parallel.waiting import Notice
from tests.parallel.threads import ThreadWindows, run_together
from tests.told import texts


def parts_of(shards, length, dtype, empty=()):
    random = np.random.default_rng(shards * 1000 + length)
    scale = 10.0 ** random.integers(-6, 6, (shards, 1))
    parts = (random.normal(size=(shards, length)) * scale).astype(dtype)
    return [None if number in empty else part for number, part in enumerate(parts)]


def combined(exchange, parts, length, dtype, is_rounded=False, is_late=False):
    """The sum of parts over processes; what each of them holds is its own.

    Args:
        is_late: halves of nodes are still to be added, and nobody reads the sum later.
    """
    parts, add = [None if part is None else part.copy() for part in parts], np.add
    if is_rounded:
        add = rounding.add
        for part in parts:
            rounding.round_in_place(np.zeros(0, dtype) if part is None else part)
    shards = len(parts)
    own = share_of(exchange.rank, exchange.size, shards)
    nodes, behind = {}, {}
    for node in cover((0, shards), own):
        is_cut = is_late and node[1] - node[0] > 1
        sums = [value_of(part, parts.__getitem__, add) for part in (halves(node) if is_cut else [node])]
        nodes[node], *others = [one for one in sums if one is not None] or [None]
        if others:
            behind[node] = others[0]

    def has_images(node):
        return any(part is not None for part in parts[slice(*node)])

    return exchange.combine(
        shards, nodes, np.zeros(length, dtype), has_images, is_rounded, not is_late, behind
    )


GRID = pytest.mark.parametrize(
    ("size", "shards", "length", "empty"),
    [
        (2, 12, 100, ()),
        (3, 12, 7, (1, 11)),
        (4, 4, 2, (0, 1)),
        (5, 13, 1, ()),
        (3, 3, 0, ()),
        (6, 24, 50, range(24)),
    ],
)


@pytest.mark.parametrize(("dtype", "is_rounded"), [("float32", False), ("float64", False), ("float32", True)])
@GRID
def test_the_sum_has_the_bits_of_one_process(dtype, is_rounded, size, shards, length, empty):
    parts = parts_of(shards, length, dtype, empty)
    alone = combined(Alone(), parts, length, dtype, is_rounded)
    assert combined(Alone(), parts, length, dtype, is_rounded, True).tobytes() == alone.tobytes()

    def twice(communicator):
        return [combined(OverMPI(communicator), parts, length, dtype, is_rounded, late) for late in (0, 1)]

    for found in run_together(size, twice):
        assert {one.dtype for one in found} == {alone.dtype}
        assert {one.tobytes() for one in found} == {alone.tobytes()}


@pytest.mark.parametrize(("dtype", "is_rounded"), [("float32", False), ("float64", False), ("float32", True)])
@GRID
def test_the_sum_in_shared_memory_has_the_bits_of_one_process(dtype, is_rounded, size, shards, length, empty):
    parts = parts_of(shards, length, dtype, empty)
    alone = combined(Alone(), parts, length, dtype, is_rounded)

    def both(communicator):
        exchange = OverMPI(communicator)
        exchange.board = Board(ThreadWindows(communicator), least=0)
        late = [combined(exchange, parts, length, dtype, is_rounded, True).tobytes() for _ in range(2)]
        twice = [combined(exchange, parts, length, dtype, is_rounded) for _ in range(2)]
        assert {*late} == {twice[0].tobytes()} == {twice[1].tobytes()}
        return twice[1]

    for found in run_together(size, both):
        assert found.dtype == alone.dtype
        assert found.tobytes() == alone.tobytes()


def test_shared_memory_grows_and_is_left_alone_where_it_would_not_fit():
    def talk(communicator):
        exchange = OverMPI(communicator)
        windows = ThreadWindows(communicator, room=4000)
        exchange.board = Board(windows, least=100)
        for length in (10, 50, 100, 60, 10_000, 50):
            parts = parts_of(4, length, "float32")
            alone = combined(Alone(), parts, length, "float32")
            assert combined(exchange, parts, length, "float32").tobytes() == alone.tobytes()
        return windows.taken

    # A node of each process, and the sum.
    assert run_together(2, talk) == [[2 * 4 * 50, 2 * 4 * 100]] * 2


@pytest.mark.parametrize("text", ["no room", "", "\N{GRINNING FACE}" * 1000, 'a\n"b"\0'])
def test_what_an_error_says_travels_in_a_fixed_length(text):
    class VeryLongName(ValueError):
        pass

    VeryLongName.__name__ = "\N{GRINNING FACE}" * 200
    for error in (ValueError(text), VeryLongName(text), SystemExit(text), SystemExit(3), SystemExit()):
        notice = Notice.of(2**40, 1000, error)
        assert len(notice.packed()) == len(Notice.of(0, 0, ValueError()).packed())
        assert Notice.unpacked(notice.packed()) == notice
        assert str(error)[:200] == notice.text[:200]
    assert str(Notice.of(1, 5, ValueError(text)).raised()).startswith("Process 5 gave up what all")
    assert Notice.of(1, 5, SystemExit(text)).raised().code == 1, "as the interpreter ends with a text"
    assert Notice.of(1, 5, SystemExit()).raised().code is None
    assert ", with MemoryError. Let" in str(Notice.of(1, 5, MemoryError()).raised())


def test_an_error_that_cannot_say_what_it_is_reaches_the_others():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    notice = Notice.unpacked(Notice.of(1, 5, Odd()).packed())
    assert str(notice.raised()).startswith("Process 5 gave up what all processes do together, with Odd: ")


class SlowWindows(ThreadWindows):
    """The second process leaves each meeting late: it reads while the first one writes what comes next."""

    def wait(self):
        super().wait()
        if self._communicator.rank == 1:
            time.sleep(0.01)


def test_a_sum_is_not_overwritten_while_others_read_it():
    lengths = [(12, 100), (12, 900), (12, 100), (12, 1000), (5, 999), (12, 10), (5, 1000), (12, 3)]
    problems = [parts_of(shards, length, "float32") for shards, length in lengths]

    def talk(communicator):
        exchange = OverMPI(communicator)
        exchange.board = Board(SlowWindows(communicator), least=0)
        with exchange.busy():  # they do not meet for each message
            for parts, (_, length) in list(zip(problems, lengths)) * 2:
                alone = combined(Alone(), parts, length, "float32")
                assert combined(exchange, parts, length, "float32").tobytes() == alone.tobytes()

    run_together(3, talk)


def test_another_order_gives_other_bits():
    """Or the test above would not see a wrong order."""
    parts = parts_of(12, 100, "float32")
    in_turn = parts[0].copy()
    for part in parts[1:]:
        in_turn += part
    assert combined(Alone(), parts, 100, "float32").tobytes() != in_turn.tobytes()


def test_rounded_sums_are_near_and_have_empty_lower_halves():
    random = np.random.default_rng(0)
    parts = list(random.uniform(1, 2, (12, 40000)).astype("float32"))
    found = combined(Alone(), parts, 40000, "float32", is_rounded=True)
    assert not (found.view(np.uint32) & 0xFFFF).any()
    # A rounding of the part, and four of the sums above it, each of half a unit of eight bits.
    np.testing.assert_allclose(found, np.sum(parts, 0, dtype=float), rtol=5.1 * 2.0**-9)


def test_what_is_no_number_stays_so_in_sums_that_are_rounded():
    parts = [np.array([np.nan, np.inf, 1, 3e38], "float32"), np.array([1, 1, np.nan, 3e38], "float32")]
    with np.errstate(over="ignore"):
        for found in run_together(2, lambda c: combined(OverMPI(c), parts, 4, "float32", is_rounded=True)):
            np.testing.assert_array_equal(found, np.array([np.nan, np.inf, np.nan, np.inf], "float32"))


@pytest.mark.parametrize("length", [1, 240, 241, 100_000])
def test_short_and_long_messages(length):
    def talk(communicator):
        exchange = OverMPI(communicator)
        own = "x" * (length if exchange.rank else 3)
        return exchange.told(own), exchange.told("y" * length), exchange.all_say(own)

    expected = ("xxx", "y" * length, ["xxx", "x" * length, "x" * length])
    assert run_together(3, talk) == [expected] * 3


def test_rows_come_in_the_order_of_processes():
    rows = np.arange(12.0).reshape(6, 2)
    bounds = [0, 2, 2, 6]
    for found in run_together(3, lambda c: OverMPI(c).in_order(rows[bounds[c.rank] : bounds[c.rank + 1]])):
        np.testing.assert_array_equal(found, rows)


def test_the_first_tells_and_all_say():
    found = run_together(3, lambda c: (OverMPI(c).told(c.rank + 5), OverMPI(c).all_say(c.rank)))
    assert found == [(5, [0, 1, 2])] * 3
    assert Alone().told("x") == "x"
    assert Alone().all_say("x") == ["x"]


def test_processes_with_the_same_code_agree():
    run_together(2, lambda c: meeting.check_agreement(OverMPI(c)))


@pytest.mark.parametrize("name", ["kernelearn", "numpy", "byte order", "kind of processor"])
def test_what_differs_is_named(name):
    own = meeting.about_this_process()
    with pytest.raises(ArgumentError, match=rf"differ in {name}.*process 2 has other"):
        meeting.check_same([own, own, {**own, name: "other"}])


def targets_of(name):
    """What a process says that has another target than this one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(meeting.TARGET, name)
        return meeting.targets_here()


def test_the_best_target_that_all_have_is_taken():
    own = meeting.targets_here()
    assert meeting.common_target([own, own]) is None
    least = targets_of("baseline")
    if least[0] != own[0]:
        assert meeting.common_target([own, least]) == meeting.common_target([least, own, own]) == "baseline"
    # Another model with the same units.
    other = [(own[0][0], "another-cpu +its,-features 16"), *own[1:]]
    assert meeting.common_target([own, other]) == own[1][0]
    assert meeting.common_target([[("avx512", "a"), ("avx2", "y")], [("avx2", "y"), ("avx2", "y")]]) == "avx2"


def test_processors_with_nothing_in_common_are_refused():
    with pytest.raises(ArgumentError, match="process 0 has neon, process 1 has avx2"):
        meeting.common_target([[("neon", "a"), ("baseline", "x")], [("avx2", "b"), ("baseline", "y")]])


def test_shards_that_leave_a_process_without_work_are_refused():
    exchange = Alone()
    assert world.shards_of(None) == 1
    assert world.shards_of(5) == 5
    exchange.size = 6
    with world.pretending(exchange):
        assert world.shards_of(None) == world.DEFAULT_SHARDS
        with pytest.raises(ArgumentError, match="without work"):
            world.shards_of(5)


@pytest.mark.parametrize(("size", "shards", "said"), [(8, 12, "25 %.*shards=16"), (5, 12, "20 %.*shards=15")])
def test_shards_that_leave_processes_waiting_are_warned_about(size, shards, said):
    exchange = Alone()
    exchange.size = size
    with world.pretending(exchange), pytest.warns(UserWarning, match=said):
        world.warn_of_waiting(shards)


@pytest.mark.parametrize(("size", "shards"), [(1, 1), (4, 12), (5, 24), (12, 12), (16, 16)])
def test_shards_that_divide_well_are_not(recwarn, size, shards):
    exchange = Alone()
    exchange.size = size
    with world.pretending(exchange):
        world.warn_of_waiting(shards)
    assert not texts(recwarn)


def test_what_a_training_process_starts_is_no_part_of_it(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "3")
    assert world.started_by_mpi()
    monkeypatch.setenv("KERNELEARN_MPI_MEMBER", "1")
    assert not world.started_by_mpi()
    monkeypatch.setenv("PMI_SIZE", "several")
    assert not world.started_by_mpi()


def test_more_threads_than_cpus_are_warned_about(monkeypatch):
    monkeypatch.setenv("KERNELEARN_NUM_THREADS", "200")
    with pytest.warns(UserWarning, match="400 threads in all share"):
        run_together(2, lambda c: meeting.share_cpus(OverMPI(c)))


def test_cpus_are_shared_by_default(monkeypatch):
    from kernelearn.engine.cpu.machine import threads

    monkeypatch.delenv("KERNELEARN_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "available_cpus", lambda: 8)
    run_together(3, lambda c: meeting.share_cpus(OverMPI(c)))
    assert threads.get_num_threads() == 2
