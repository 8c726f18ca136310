"""A way to run the command line in this process, and one small finished run that many tests read."""

import json
from dataclasses import dataclass

import pytest

pytest.importorskip("sklearn")

from kernelearn.cli import main


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


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a run that took two epochs on the digits."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    code = main(["train", "digits", "--epochs", "2", "--augment", "none", "--run", str(folder), "--quiet"])
    assert code == 0
    return folder
