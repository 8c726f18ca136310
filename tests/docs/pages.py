"""Runs the examples of one page: `python tests/docs/pages.py PAGE`, in the folder where it may write.

Without a page it reads lines `FOLDER PAGE` and answers each with an exit code: it runs the page in a process
of its own, in which what most pages import is there already. What that prints stands in FOLDER.out and .err.

The python blocks of a page share one namespace. A block that cannot run stands under a comment with the
reason: <!-- not executed: REASON -->. A `text` block right after a python block is what that block prints.
"""

import contextlib
import importlib
import io
import os
import re
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(
    r"(<!-- not executed: *(?P<reason>[^>]*?) *-->\s*)?^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.M | re.S
)


class Block(NamedTuple):
    """One fenced block: its language, its text, the line it starts on and why it is not run (or None)."""

    kind: str
    text: str
    line: int
    reason: str | None


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [
        Block(m["kind"], m["text"], page.count("\n", 0, m.start("text")) + 1, m["reason"])
        for m in BLOCK.finditer(page)
    ]


def run_block(block: Block, names: dict, path: str) -> str:
    """Execute a block; lines are padded so that a traceback names the line of the page."""
    code = compile("\n" * (block.line - 1) + block.text, path, "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


def run_page(text: str, path: str) -> int:
    """Run the page's blocks and compare what they print; the number of blocks run."""
    names: dict = {"__name__": "page"}
    count, printed = 0, None
    for block in blocks_of(text):
        if block.kind == "python" and block.reason is None:
            printed = run_block(block, names, path)
            count += 1
        elif block.kind == "text" and printed is not None:
            if printed != block.text:
                raise AssertionError(
                    f"{path}, line {block.line}: the page says {block.text!r}, got {printed!r}"
                )
        else:
            printed = None
    return count


PACKAGES = [f"kernelearn.{name}" for name in ("data", "explain", "layers", "recording", "view")]
PACKAGES += ["llvmlite.binding", "matplotlib.pyplot"]


def serve() -> None:
    """Run the pages that are named, one after the other; a page leaves nothing for the next one."""
    for name in PACKAGES:
        importlib.import_module(name)
    for line in sys.stdin:
        folder, page = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            _run_in(folder, page)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run_in(folder: str, page: str) -> None:
    """What a child does: it ends here."""
    for number, ending in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}.{ending}", os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    code = 1
    try:
        print(run_page(Path(page).read_text(encoding="utf-8"), page))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for path in sys.argv[1:]:
        print(run_page(Path(path).read_text(encoding="utf-8"), path))
    if not sys.argv[1:]:
        serve()
