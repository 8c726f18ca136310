"""Every python block of README.md and of the pages under docs/ runs, and prints what the page says.

Each page runs in a process and a folder of its own, so that it starts as a reader does; see pages.py.
"""

import os
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from tests.docs.pages import blocks_of, run_page

ROOT = Path(__file__).resolve().parents[2]
# Pages whose examples have a test beside the code that they describe.
TESTED_ELSEWHERE = {"data.md", "kernel-machines.md"}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _own_pages() -> list[Path]:
    """Those with something to run."""
    own = [page for page in PAGES if page.name not in TESTED_ELSEWHERE]
    return [page for page in own if "```python\n" in page.read_text(encoding="utf-8")]


@pytest.fixture(scope="module")
def reader():
    """The process that runs pages, each in a child of it: importing takes longer than most pages."""
    script = [sys.executable, str(Path(__file__).with_name("pages.py"))]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a page is run in a forked process")
@pytest.mark.parametrize("page", _own_pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_examples_of_a_page_run(page, reader, tmp_path):
    text, folder = page.read_text(encoding="utf-8"), tmp_path / "page"
    folder.mkdir()
    reader.stdin.write(f"{folder}\t{page}\n")
    reader.stdin.flush()
    code = int(reader.stdout.readline())
    assert code == 0, (tmp_path / "page.err").read_text("utf-8")
    blocks = int((tmp_path / "page.out").read_text("utf-8").split()[-1])
    assert blocks == text.count("```python\n") - _left_out(text)


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


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_files_that_are_named_exist(page):
    """Paths in code type, from the root, the package or the engine."""
    named = re.findall(r"`([\w.]+(?:/[\w.]+)*/[\w.]+\.py)`", (ROOT / page).read_text(encoding="utf-8"))
    places = [ROOT, ROOT / "src/kernelearn", ROOT / "src/kernelearn/engine/cpu"]
    assert len(named) > 20
    assert not [name for name in named if not any((place / name).is_file() for place in places)]


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
