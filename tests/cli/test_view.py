"""`kernelearn view` and `kernelearn train --watch`, as a user meets them."""

import json
import sys

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from kernelearn.cli import main
from kernelearn.recording import Run


def test_watching_a_training_then_writing_its_page(tmp_path, capsys):
    folder, page = str(tmp_path / "run"), tmp_path / "page.html"
    command = ["train", "digits", "--epochs", "1", "--batch-size", "256", "--run", folder]
    command += ["--watch", "--no-browser", "--control"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert "Microscope: http://127.0.0.1:" in told.err and "Recorded: " in told.out
    assert Run(folder).status == "finished"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["arguments"]["record"] == {}
    assert main(["view", folder, "--export", str(page)]) == 0
    told = capsys.readouterr().out
    assert "Page: " in told and "ledgers" in told and page.stat().st_size > 100_000


@pytest.mark.parametrize(
    "words, status, told",
    [
        (["view", "nowhere"], {1}, "nowhere"),
        (["view", "nowhere", "--export", "page.html"], {1}, "nowhere"),
        (["view"], {0, 2}, "RUN"),  # the help, which is no error for Click before 8.2
        (["train", "digits", "--control"], {2}, "--watch"),
        (["train", "digits", "--no-browser"], {2}, "--watch"),
        (["train", "digits", "--watch", "--paused"], {2}, "--control"),
    ],
)
def test_what_cannot_be_done_is_said(words, status, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) in status
    found = capsys.readouterr()
    assert told in found.out + found.err
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_record_cannot_be_watched_on(tmp_path, capsys):
    folder = str(tmp_path / "run")
    assert main(["train", "digits", "--epochs", "1", "--run", folder, "--quiet"]) == 0
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**content, "status": "interrupted"}))
    assert main(["train", "--resume", "--run", folder, "--watch", "--no-browser"]) == 1
    assert "not recorded" in capsys.readouterr().err


def test_what_the_page_needs_is_looked_for_before_anything_is_begun(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    folder = tmp_path / "run"
    assert main(["train", "digits", "--epochs", "1", "--watch", "--no-browser", "--run", str(folder)]) == 1
    assert "kernelearn[view]" in capsys.readouterr().err
    assert not folder.exists()
