"""Lessons are Markdown files: those of the package are read whole, and others can be added."""

import pytest

from kernelearn.errors import FormatError
from kernelearn.view.page.addresses.lessons import FOLDER, read_lesson
from kernelearn.view.page.library import Library

from .conftest import got

TEXT = """# My lesson

## First
{layer: first, view: bench}
A kernel is [nine numbers](W), and [its input](x, z) too.
It goes on.

- one
- [two](d)

## Second
{step: opening; at: 1,2}
The end.
"""


def test_a_lesson_as_it_is_read(tmp_path):
    (tmp_path / "mine.md").write_text(TEXT)
    lesson = read_lesson(tmp_path / "mine.md")
    assert lesson["title"] == "My lesson" and [step["title"] for step in lesson["steps"]] == [
        "First",
        "Second",
    ]
    first, second = lesson["steps"]
    assert first["settings"] == {"layer": "first", "view": "bench"}
    assert second["settings"] == {"step": "opening", "at": "1,2"}
    assert [block["kind"] for block in first["blocks"]] == ["text", "item", "item"]
    assert first["blocks"][0]["parts"] == [
        {"text": "A kernel is "},
        {"text": "nine numbers", "marks": ["W"]},
        {"text": ", and "},
        {"text": "its input", "marks": ["x", "z"]},
        {"text": " too."},
        {"text": " "},
        {"text": "It goes on."},
    ]


def test_those_of_the_package_are_eight_and_say_what_they_speak_of(library):
    told = got(library, "lessons")["lessons"]
    assert len(told) == 8 and all(one["steps"] > 1 and "problem" not in one for one in told)
    for path in FOLDER.glob("*.md"):
        parts = [
            part for step in read_lesson(path)["steps"] for block in step["blocks"] for part in block["parts"]
        ]
        assert any("marks" in part for part in parts), path.name


def test_a_folder_of_ones_own_adds_and_replaces(tmp_path, small):
    (tmp_path / "mine.md").write_text(TEXT)
    (tmp_path / "1-kernel.md").write_text(TEXT)
    (tmp_path / "broken.md").write_text("no step")
    library = Library([small[0].folder], lessons=tmp_path)
    told = {one["name"]: one for one in got(library, "lessons")["lessons"]}
    assert (
        len(told) == 10
        and told["1-kernel"]["title"] == "My lesson"
        and "before the first step" in told["broken"]["problem"]
    )
    assert got(library, "lessons/mine")["steps"][1]["title"] == "Second"


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "has no step"),
        ("text", "before the first step"),
        ("## A\n{layer}\n", "line 2"),
        ("# only a title", "no step"),
    ],
)
def test_what_is_no_lesson_is_said_with_its_line(tmp_path, text, words):
    (tmp_path / "a.md").write_text(text)
    with pytest.raises(FormatError, match=words):
        read_lesson(tmp_path / "a.md")


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "a.md").write_bytes(b"## \xff")
    with pytest.raises(FormatError, match="UTF-8"):
        read_lesson(tmp_path / "a.md")
    (tmp_path / "b.md").write_bytes(b"x" * 300_000)
    with pytest.raises(FormatError, match="larger"):
        read_lesson(tmp_path / "b.md")
