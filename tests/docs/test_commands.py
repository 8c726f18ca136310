"""Every command that the pages and the command line's own help name can be read as it stands.

Commands are parsed and not run: a command, option or target that is gone shows, or a value that is wrong.
"""

import re
import shlex
from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperCommand

from kernelearn.cli import main
from kernelearn.cli.application import app
from tests.docs.pages import blocks_of
from tests.docs.test_examples import PAGES, ROOT

SHELL = ("sh", "bash", "console")
# NOTE: what has "..." or COMMAND in it stands for many commands.
NO_COMMAND = re.compile(r"\.\.\.|\bCOMMAND\b")


def commands_in(page: str) -> list[str]:
    """Those of a text, by `kernelearn` or `make`: lines of shell blocks, and code in sentences."""
    lines = [line for block in blocks_of(page) if block.kind in SHELL for line in block.text.splitlines()]
    sentences = re.sub(r"^```.*?^```", "", page, flags=re.M | re.S)
    lines += [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", sentences)]
    found = [line.removeprefix("$ ").split("  #")[0].strip() for line in lines]
    return [line for line in found if re.match(r"(kernelearn|make) \w", line) and not NO_COMMAND.search(line)]


def helps(command=None, name: str = "") -> Iterator[tuple[str, str]]:
    """(name, help) of each command of the command line."""
    command = command or typer.main.get_command(app)
    yield f"kernelearn{name} --help", command.help or ""
    for word, part in getattr(command, "commands", {}).items():
        yield from helps(part, f"{name} {word}")


TEXTS = [*((page.name, page.read_text(encoding="utf-8")) for page in PAGES), *helps()]
NAMED = sorted({(where, command) for where, text in TEXTS for command in commands_in(text)})


@pytest.fixture
def code_of(monkeypatch):
    """code_of(words): the exit code of a command line that does nothing but read its words."""
    monkeypatch.setattr(TyperCommand, "invoke", lambda command, context: None)
    return main


@pytest.mark.parametrize(("where", "command"), NAMED)
def test_a_command_can_be_read(code_of, capsys, where, command):
    program, *words = shlex.split(command)
    if program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = re.findall(r"^([\w-]+):", makefile, re.M)
        settings = re.findall(r"^(\w+) \?=", makefile, re.M)
        assert [word for word in words if "=" not in word and word not in targets] == []
        assert [word for word in words if "=" in word and word.partition("=")[0] not in settings] == []
        return
    # A command named by itself, such as `kernelearn data`, is one that exists.
    assert code_of(words if len(words) > 1 else [*words, "--help"]) == 0, capsys.readouterr().err


def test_pages_and_helps_name_commands():
    assert len(NAMED) > 80
    assert {"README.md", "recording.md", "kernelearn train --help"} <= {where for where, _ in NAMED}


@pytest.mark.parametrize(
    "words",
    ["fly", "train digits --nope", "train digits --epochs x", "runs shwo runs/demo", "predict runs/demo"],
)
def test_a_wrong_command_cannot(code_of, words):
    assert code_of(words.split()) == 2
