"""What stands in the way of serving a page is said in words."""

import pytest

from kernelearn.errors import ArgumentError
from kernelearn.view.page.library import Library
from kernelearn.view.page.serving import PageServer


def test_an_address_of_another_machine_is_told(recorded):
    with pytest.raises(ArgumentError, match="no address of this machine"):
        PageServer(Library([recorded.folder]), host="192.0.2.1").start()


def test_lessons_that_are_not_there_are_told(recorded, tmp_path):
    with pytest.raises(ArgumentError, match=r"no folder .* of lessons"):
        Library([recorded.folder], lessons=tmp_path / "nothere")
