"""Lessons: Markdown files, read into steps of prose whose phrases name what they speak of.

    # Title
    ## Title of a step
    {layer: first, view: bench}
    A kernel is [nine numbers](W).
    - a line of a list

`[words](x,W)` marks the tiles x and W; the line in braces sets the selection. Everything else is prose.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kernelearn.errors import ArgumentError, FormatError, unknown_name
from kernelearn.formats.foreign import read_plain
from kernelearn.view.page.asking import Ask
from kernelearn.view.page.library import Library

FOLDER = Path(__file__).parents[1] / "lessons"
_PHRASE = re.compile(r"\[([^\]]+)\]\(([\w, :.-]+)\)")
_SETTINGS = re.compile(r"\{(.*)\}")
_LARGEST = 200_000
_MOST_FILES = 200


def lessons(library: Library, ask: Ask) -> dict[str, Any]:
    """All lessons: those of the package, then the user's own, which may replace one by its name."""
    return {"lessons": [_about(path) for path in _files(library).values()]}


def lesson(library: Library, name: str, ask: Ask) -> dict[str, Any]:
    """One lesson."""
    files = _files(library)
    if name not in files:
        raise unknown_name("lesson", name, files)
    return read_lesson(files[name])


def _files(library: Library) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in (FOLDER, library.lessons):
        if folder is None:
            continue
        if not folder.is_dir():
            raise ArgumentError(f"There is no folder of lessons {str(folder)!r}.")
        found |= {path.stem: path for path in sorted(folder.glob("*.md"))[:_MOST_FILES] if path.is_file()}
    return found


def _about(path: Path) -> dict[str, Any]:
    try:
        content = read_lesson(path)
    except FormatError as error:
        return {"name": path.stem, "title": path.stem, "steps": 0, "problem": str(error)}
    return {"name": path.stem, "title": content["title"], "steps": len(content["steps"])}


def read_lesson(path: Path) -> dict[str, Any]:
    """A lesson's file.

    Raises: FormatError for a file that is none, naming the line.
    """
    try:
        text = _content(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{str(path)!r} is no text in UTF-8: {error}.") from error
    title, steps = path.stem, list[dict[str, Any]]()
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path.name}, line {number}"
        if line.startswith("## "):
            steps.append({"title": line[3:].strip(), "settings": {}, "blocks": []})
        elif line.startswith("# "):
            title = line[2:].strip()
        elif not steps:
            if line.strip():
                raise FormatError(f"{where}: text before the first step; a step begins with '## Title'.")
        else:
            _add_line(steps[-1], line.strip(), where)
    if not steps:
        raise FormatError(f"{path.name} has no step: a step begins with '## Title'.")
    for step in steps:
        step["blocks"] = [block for block in step["blocks"] if block["parts"]]
    return {"name": path.stem, "title": title, "steps": steps}


def _content(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST:
        raise FormatError(f"{path.name} is larger than {_LARGEST:,} bytes: that is no lesson.")
    return read_plain(path, FormatError)


def _add_line(step: dict[str, Any], line: str, where: str) -> None:
    """Put one line into a step: settings, a new paragraph, an entry of a list, or more of a paragraph."""
    blocks = step["blocks"]
    settings = _SETTINGS.fullmatch(line)
    if settings is not None:
        step["settings"] |= _read_settings(settings.group(1), where)
    elif not line:
        blocks.append({"kind": "text", "parts": []})
    elif line.startswith("- "):
        blocks.append({"kind": "item", "parts": _parts(line[2:])})
    else:
        if not blocks:
            blocks.append({"kind": "text", "parts": []})
        space = [{"text": " "}] if blocks[-1]["parts"] else []
        blocks[-1]["parts"] += [*space, *_parts(line)]


def _read_settings(text: str, where: str) -> dict[str, str]:
    found = {}
    for part in filter(None, (p.strip() for p in text.split(";" if ";" in text else ","))):
        name, colon, value = part.partition(":")
        if not colon:
            raise FormatError(f"{where}: settings are name: value, with commas between them; got {part!r}.")
        found[name.strip()] = value.strip()
    return found


def _parts(line: str) -> list[dict[str, Any]]:
    """Prose and phrases of a line."""
    parts: list[dict[str, Any]] = []
    end = 0
    for match in _PHRASE.finditer(line):
        if match.start() > end:
            parts.append({"text": line[end : match.start()]})
        marks = [mark.strip() for mark in match.group(2).split(",") if mark.strip()]
        parts.append({"text": match.group(1), "marks": marks})
        end = match.end()
    if end < len(line):
        parts.append({"text": line[end:]})
    return parts
