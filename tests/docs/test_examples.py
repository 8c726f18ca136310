"""Every python block of README.md and of the pages under docs/ runs, and prints what the page says.

The blocks of one page share one namespace, in a folder of their own. A block that cannot run here stands
under a comment with the reason: <!-- not executed: REASON -->. A `text` block right after a python block is
what that block prints.
"""

import contextlib
import io
import re
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Pages whose examples have a test beside the code that they describe.
TESTED_ELSEWHERE = {"data.md", "kernel-machines.md"}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
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
            assert printed == block.text, f"{path}, line {block.line}"
        else:
            printed = None
    return count


def _own_pages() -> list[Path]:
    return [page for page in PAGES if page.name not in TESTED_ELSEWHERE]


@pytest.mark.parametrize("page", _own_pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    expected = [b for b in blocks_of(text) if b.kind == "python" and b.reason is None]
    assert run_page(text, str(page)) == len(expected) == text.count("```python\n") - _left_out(text)


def _left_out(text: str) -> int:
    return sum(b.kind == "python" and b.reason is not None for b in blocks_of(text))


def test_a_block_that_is_left_out_says_why():
    for page in PAGES:
        for block in blocks_of(page.read_text(encoding="utf-8")):
            assert block.reason is None or len(block.reason) >= 10, f"{page.name}, line {block.line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_inside_the_project_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_layer_is_in_the_table():
    from kernelearn import layers

    text = (ROOT / "docs" / "layers.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", text))
    assert set(layers.__all__) - {"LAYERS", "Layer", "InputLayer"} - named == set()


def test_every_dependency_has_its_reason():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    packages = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.match(r"[\w-]+", package)[0] for package in packages} - {"kernelearn"}
    assert {
        name for name in names | set(project["optional-dependencies"]) if f"`{name}`" not in text
    } == set()


def test_the_runner_itself():
    assert run_page("```python\nprint(1)\n```\n\n```text\n1\n```\n", "page") == 1
    assert run_page("<!-- not executed: needs a web camera -->\n```python\n1 / 0\n```\n", "page") == 0
    with pytest.raises(AssertionError):
        run_page("```python\nprint(1)\n```\n```text\n2\n```\n", "page")
    with pytest.raises(ZeroDivisionError):
        run_page("```python\n1 / 0\n```\n", "page")
