"""The cells of a grid that are always tested, and those that are left to the slow sweeps."""

import pytest

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
