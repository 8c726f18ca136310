"""A way to run the command line in this process, and one small finished run that many tests read."""

import functools
import json
from dataclasses import dataclass

import pytest

pytest.importorskip("sklearn")

from kernelearn.cli import main
from kernelearn.cli.train import job
from kernelearn.engine.cpu.report import peaks
from kernelearn.view import save_figure
from kernelearn.view.figure import new_figure


@dataclass
class Result:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def run(capsys):
    """run("train", "digits", ...) -> Result."""

    def call(*words):
        code = main([str(word) for word in words])
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    """A training ends with a picture of nothing: that of all kernels takes four times as long as training.

    Runs that many tests share (`finished` and its like) are made before this and have the whole picture.
    """
    monkeypatch.setattr(job, "_draw_kernels", lambda model, path: str(save_figure(new_figure((1, 1)), path)))


_renewed_once = functools.cache(peaks.renew)


@pytest.fixture(autouse=True)
def _peaks_once(monkeypatch):
    """What the processor can do at best is measured once, and not at each `doctor`."""
    monkeypatch.setattr(peaks, "renew", _renewed_once)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a run that took two epochs on the digits."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    code = main(["train", "digits", "--epochs", "2", "--augment", "none", "--run", str(folder), "--quiet"])
    assert code == 0
    return folder
