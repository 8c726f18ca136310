"""docs/page-api.md is true: every address in it answers with the entries that it shows; none is left out."""

import re
from pathlib import Path

import pytest

from kernelearn.view.page.answers import OF_PAGE, OF_RUN, answer
from kernelearn.view.page.blocks import BLOCKS_TYPE, read_blocks
from kernelearn.view.page.library import Library

from .runs import recorded

TEXT = (Path(__file__).parents[3] / "docs" / "page-api.md").read_text(encoding="utf-8")
# What the page's examples name -> what the run of these tests has.
HERE = {
    "{run}": "demo",
    "{name}": "1-kernel",
    "conv1": "conv",
    "61": "4",
    "runs=demo,other": "runs=demo,demo-2",
}
# Entries of examples that depend on the run: what a hint says, which family is closest.
NOT_IN_EVERY_RUN = {"kind", "layer", "text", "measured", "bound", "look", "view", "sobel"}
# Addresses that a server answers by itself.
SERVED = {"live", "files", "picture"}


def sections():
    """(address, whether it is binary, its text) of every GET heading."""
    for part in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        for address in re.findall(r"GET ([^`]+)`", head):
            yield address, "(binary" in head, body


ADDRESSES = [one for one in sections() if not SERVED & set(one[0].replace("?", "/").split("/"))]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    return Library(
        [
            recorded(folder / name, optimizer=how)[0].folder
            for name, how in (("demo", "adam"), ("demo-2", "sgd"))
        ]
    )


def here(address):
    for theirs, mine in HERE.items():
        address = address.replace(theirs, mine)
    path, _, query = address.partition("?")
    return path.strip("."), dict(part.split("=", 1) for part in query.split("&") if part)


@pytest.mark.parametrize("address, is_binary, body", ADDRESSES, ids=[one[0] for one in ADDRESSES])
def test_an_address_answers_as_it_is_described(two, address, is_binary, body):
    path, params = here(address)
    found = answer(two, path, params)
    assert found.status == 200, found.body
    assert (found.kind == BLOCKS_TYPE) == is_binary
    shown = re.search(r"((?:^    .*\n)+)", body, flags=re.MULTILINE)
    if is_binary:
        header, arrays = read_blocks(found.body)
        assert arrays and not header["missing"]
    elif shown is not None:
        text = found.body.decode()
        names = set(re.findall(r'"(\w+)": ', shown.group(1)))
        missing = {name for name in names if f'"{name}":' not in text}
        assert missing <= NOT_IN_EVERY_RUN, missing


def test_the_blocks_that_the_text_names_are_there(two):
    _, arrays = read_blocks(answer(two, *here("runs/{run}/batch?layer=conv1&step=61")).body)
    assert {
        "images",
        "labels",
        "x",
        "z",
        "a",
        "pool",
        "winner",
        "dz",
        "da",
        "dpool",
        "kernel",
        "bias",
    } <= set(arrays)
    assert {"gradient", "bias_gradient"} <= set(arrays)
    for name in ("images", "labels", "x", "z", "a", "pool", "winner", "dz", "da", "dpool", "gradient"):
        assert f"`{name}`" in TEXT, name


def test_no_address_is_left_out():
    listed = {address.partition("?")[0] for address, _, _ in sections()}
    for name in OF_RUN:
        assert f"runs/{{run}}/{name}".rstrip("/") in listed, name
    for name in OF_PAGE:
        assert (name or ".") in listed | {"runs"}, name
    for name in SERVED | {"control"}:
        assert f"runs/{{run}}/{name}" in TEXT


def test_every_parameter_is_described():
    for route in (*OF_RUN.values(), *OF_PAGE.values()):
        for name in route.parameters:
            assert f"{name}=" in TEXT, name
