"""Which cells of a grid are always tested and which are left to the slow sweeps; the order of the files."""

from pathlib import Path

import pytest

from tests.order import LONG, place_of
from tests.sweeps import some


def quick(cells):
    return [cell for cell in cells if not hasattr(cell, "marks")]


def slow(cells):
    return [cell.values for cell in cells if hasattr(cell, "marks") and cell.marks[0].name == "slow"]


def test_a_number_of_cells_is_spread_over_all():
    assert quick(some(range(10), quick=4)) == [0, 3, 6, 9]
    assert quick(some("abc", quick=1)) == ["a"]
    assert quick(some("abc", quick=9)) == ["a", "b", "c"]


def test_cells_are_named_or_told_by_a_rule():
    assert quick(some({"a": 1, "b": 2, "c": 3}, quick=("c", "a"))) == ["a", "c"]
    cells = some([(1, "x"), (2, "y")], quick=lambda cell: cell[0] == 2)
    assert quick(cells) == [(2, "y")] and slow(cells) == [(1, "x")]


def test_a_name_that_is_no_cell_is_told():
    with pytest.raises(AssertionError, match="not all among"):
        some("abc", quick=("d",))


def test_files_that_come_first_are_there():
    tests = Path(__file__).parent
    paths = [path.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")]
    assert {place_of(path) for path in paths} == set(range(len(LONG) + 1))


def test_they_come_first_in_a_run(request):
    files = [item.nodeid.partition("::")[0].removeprefix("tests/") for item in request.session.items]
    places = [place_of(path) for path in files]
    assert places == sorted(places)
