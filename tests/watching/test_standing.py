"""A watcher that nobody stopped gives way to the next one, in one process; not to that of another."""

import os
import weakref

import pytest

from kernelearn.errors import ArgumentError
from kernelearn.locks import FolderLock
from kernelearn.recording import Run
from kernelearn.watching.sayings import Sayings
from kernelearn.watching.standing import Standing, weakly
from tests.watching.test_book import Program
from tests.watching.test_opening import ABOUT, opened


class Watching(Standing):
    """A watcher of a program."""

    folder = watched = None

    def __init__(self, folder, model, **options):
        self.folder, self.watched, self._is_on = folder, model, True
        self._book = opened(folder, every=1, **options).book(
            {**ABOUT, "weights": {"layer/kernel": (3, 2)}}, model
        )
        self.program = Program()
        self.step()
        self.stand()

    def step(self):
        self.program.step(self._book)

    def end(self, kind="finished"):
        if self._is_on:
            self._is_on = False
            self._book.close(kind)


@pytest.mark.parametrize(("place", "is_same"), [("run", False), ("run", True), ("next", True)])
def test_the_older_one_ends_with_a_warning(tmp_path, place, is_same):
    model = object()
    older = Watching(tmp_path / "run", model)
    with pytest.warns(UserWarning, match=r"run.*was not stopped"):
        newer = Watching(tmp_path / place, model if is_same else object(), overwrite=True)
    assert not older.is_writing and newer.is_writing
    newer.give_way()
    assert Run(tmp_path / place).last_step == 1
    assert Run(tmp_path / "run").status == "interrupted"


def test_others_go_on(tmp_path):
    models = object(), object()
    both = [Watching(tmp_path / name, model) for name, model in zip("ab", models)]
    with pytest.raises(ArgumentError, match="overwrite=True"):
        opened(tmp_path / "a").book(ABOUT, models[1])
    for one in both:
        one.step()
        one.give_way()
    assert [Run(tmp_path / name).last_step for name in "ab"] == [2, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_leaves_the_run_alone(tmp_path):
    watching = Watching(tmp_path / "run", object())
    child = os.fork()
    if not child:
        os._exit(int(watching.is_writing))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    watching.step()
    watching.give_way()
    assert Run(tmp_path / "run").last_step == 2


def test_one_that_nobody_has_any_more_closes_its_run(tmp_path):
    watching = Watching(tmp_path / "run", object())
    del watching
    assert Run(tmp_path / "run").status == "interrupted"


def test_one_that_is_in_the_way_of_a_recorder_ends(tmp_path):
    """Also where it is left over from something that failed, with the error still at hand."""
    older = Watching(tmp_path / "run", object())
    with (
        pytest.warns(UserWarning, match="another run is written into its folder"),
        FolderLock(tmp_path / "run"),
    ):
        assert not older.is_writing
    assert Run(tmp_path / "run").status == "interrupted"


def test_what_a_watcher_has_itself_does_not_keep_it(tmp_path):
    watching = Watching(tmp_path / "run", object())
    watching.told = Sayings("watch", weakly(watching.event))
    with pytest.warns(UserWarning, match="odd"):
        watching.told.say("This is odd.")
    said, kept = watching.told, weakref.ref(watching)
    del watching
    assert kept() is None
    with pytest.warns(UserWarning, match="even"):
        said.say("This is even.")
    assert [e["text"] for e in Run(tmp_path / "run").events if e["kind"] == "note"] == ["This is odd."]
