"""The table of 61 questions: all are there, every link leads to a section, every command can be read.

Sections of all pages are held to the same rule: a link to a heading that was renamed shows.
"""

import re

import pytest

from tests.docs.test_commands import NAMED
from tests.docs.test_examples import PAGES, ROOT

PAGE = ROOT / "docs" / "questions.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| \d", line)
]
LINK = re.compile(r"\]\(([^)#:\s]*)#([^)\s]+)\)")


def anchors(page):
    """Of the headings of a page, as the site and GitHub make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    plain = [re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in plain}


def test_all_61_are_there_once():
    assert sorted(int(row[0]) for row in ROWS) == list(range(1, 62))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_has_a_question_a_short_answer_and_a_place(row):
    _, question, short, place = row
    assert len(question) > 10 and len(short) > 2
    assert re.search(r"\]\([\w-]+\.md(#[^)]*)?\)", place), place
    for command in re.findall(r"`(kernelearn [^`]+)`", place):
        assert ("questions.md", command) in NAMED  # which test_commands reads word by word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_sections_that_exist(page):
    text = page.read_text(encoding="utf-8")
    for name, section in LINK.findall(text):
        target = page.parent / name if name else page
        if target.suffix == ".md":
            assert section in anchors(target), f"{page.name} links to {name}#{section}"


def test_a_section_that_is_not_there_would_show():
    assert "is-a-kernel-fixed" in anchors(ROOT / "docs" / "how-kernels-learn.md")
    assert "is-a-kernel-fxed" not in anchors(ROOT / "docs" / "how-kernels-learn.md")
