"""Runs the examples of one page: `python tests/docs/pages.py PAGE`, in the folder where it may write.

The python blocks of a page share one namespace. A block that cannot run stands under a comment with the
reason: <!-- not executed: REASON -->. A `text` block right after a python block is what that block prints.
"""

import contextlib
import io
import re
import sys
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


if __name__ == "__main__":
    for path in sys.argv[1:]:
        print(run_page(Path(path).read_text(encoding="utf-8"), path))
