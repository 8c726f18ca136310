"""The page as one file and as a widget: what they hold are the server's answers, thinned, and they say so."""

import base64
import html
import json
import re
import zlib

import numpy as np
import pytest

from kernelearn.errors import ArgumentError
from kernelearn.explain import update_split
from kernelearn.view.page.answers import answer
from kernelearn.view.page.blocks import BLOCKS_TYPE, read_blocks
from kernelearn.view.page.exporting import address, collect, export, file_text, library_of, rounded
from kernelearn.view.page.frontend import modules

from .runs import recorded


@pytest.fixture(scope="module")
def file(small, tmp_path_factory):
    """(text of an export, what it says it holds)."""
    written = export(small[0], tmp_path_factory.mktemp("export") / "page.html", steps=3, ledgers=2)
    return written.path.read_text(encoding="utf-8"), written.holds


def answers_in(text):
    found = re.search(r'<script type="application/json" id="kl-answers">(.*?)</script>', text, re.DOTALL)
    held = json.loads(found.group(1))
    return {
        name: (kind, zlib.decompress(base64.b64decode(packed), -15)) for name, (kind, packed) in held.items()
    }


def test_every_answer_is_the_servers(file, small):
    library = library_of(small[0])
    for name, (kind, body) in answers_in(file[0]).items():
        path, _, query = name.partition("?")
        if path in ("runs", "runs/small"):
            continue  # these are thinned
        params = dict(part.split("=", 1) for part in query.split("&") if part)
        theirs = answer(library, path, params)
        assert theirs.status == 200 and (theirs.kind == BLOCKS_TYPE) == (kind == "blocks"), name
        if kind == "json":
            assert json.loads(body) == json.loads(theirs.body), name
            continue
        (header, arrays), (their_header, their_arrays) = read_blocks(body), read_blocks(theirs.body)
        assert header["missing"] == their_header["missing"]
        for block, array in arrays.items():
            wanted = their_arrays[block]
            exact = block in ("x", "dz", "dpool", "kernel", "gradient", "winner", "steps", "images", "before")
            assert array.shape == wanted.shape, (name, block)
            assert np.array_equal(array, wanted) if exact else np.allclose(array, wanted, rtol=1e-4), (
                name,
                block,
            )


def test_it_says_what_it_holds_and_holds_what_it_says(file, small):
    text, words = file
    held = answers_in(text)
    assert words == "4 of 7 steps, 2 of 4 ledgers"
    about = json.loads(held["runs"][1])
    assert about["kind"] == "export" and about["holds"] == words and about["control"] is False
    run = json.loads(held["runs/small"][1])
    for layer in run["layers"]:
        for weight in layer["weights"].values():
            for first, last, stride in weight["ledgers"]:
                for step in range(first, last + 1, stride):
                    assert f"runs/small/batch?layer={layer['name']}&step={step}" in held
            for first, last, stride in weight["steps"]:
                for step in range(first, last + 1, stride):
                    assert f"runs/small/weights?layer={layer['name']}&step={step}" in held
    assert run["opening"]["step"] in [k for a, b, c in run["steps"]["ledgers"] for k in range(a, b + 1, c)]


def test_whole_updates_stand_in_for_single_ones(file, small):
    held = answers_in(file[0])
    name = next(n for n in held if n.startswith("runs/small/updates?layer=conv"))
    step = int(name.rpartition("=")[2])
    _, arrays = read_blocks(held[name][1])
    split = update_split(small[0], "conv", step)
    assert np.allclose(arrays["part:gradient"], split.parts["gradient"], rtol=2e-5, atol=0)
    assert f"runs/small/update?index=1,1,0,2&layer=conv&step={step}" in held


def test_the_file_needs_nothing_and_may_do_nothing(file):
    text = file[0]
    assert "default-src 'none'" in text and "connect-src" not in text
    assert not re.search(r'(?:src|href)="(?!data:)[^"]+"', text)
    found = json.loads(re.search(r'<script type="importmap">(.*?)</script>', text).group(1))
    assert set(found["imports"]) == {f"kl/{name}" for name in modules()}
    for name, url in found["imports"].items():
        source = base64.b64decode(url.removeprefix("data:text/javascript;base64,")).decode()
        assert source == modules()[name.removeprefix("kl/")]


def test_names_cannot_end_the_script(tmp_path):
    name = "a</script><script>alert(1)</script>"
    run, _, _ = recorded(tmp_path / "run", epochs=1, below=())
    text = file_text({f"runs/run/{name}": ["json", ""]})
    assert "</script><script>alert" not in text
    assert run.last_step == 3


def test_a_small_limit_leaves_steps_out_and_a_tiny_one_is_refused(small, tmp_path):
    whole, _ = collect(library_of(small[0]))
    part, words = collect(library_of(small[0]), most=60_000)
    assert (
        sum(len(text) for _, text in part.values()) < 100_000 < sum(len(text) for _, text in whole.values())
    )
    assert "of 7 steps" in words
    with pytest.raises(ArgumentError, match="raise max_bytes"):
        collect(library_of(small[0]), most=100)
    with pytest.raises(ArgumentError, match="Name it"):
        export(small[0], tmp_path / "page.txt")
    assert not (tmp_path / "page.txt").exists()


def test_addresses_as_the_page_writes_them():
    assert (
        address("runs/a/weights", {"step": 1, "layer": "a b/c&d"})
        == "runs/a/weights?layer=a%20b/c%26d&step=1"
    )
    assert address("runs", {}) == "runs"


def test_rounding_keeps_sixteen_bits():
    values = np.random.default_rng(0).normal(size=1000)
    assert np.abs(rounded(values) / values - 1).max() < 2**-15
    assert (rounded(values).view(np.uint32) & 0xFF == 0).all()


def test_two_runs_in_one_file(small, tmp_path):
    other, _, _ = recorded(tmp_path / "other", optimizer="sgd")
    held, words = collect(library_of([small[0], other]), steps=2, ledgers=1)
    assert "small: " in words and "other: " in words
    assert "compare?runs=small,other" in held and "runs/other/scalars" in held


def test_a_widget_shows_itself_live_and_saved(small):
    pytest.importorskip("anywidget")
    shown = small[0].widget(steps=1, ledgers=1, height=400)
    data, _ = shown._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    frame = data["text/html"]
    assert frame.startswith("<iframe") and 'sandbox="allow-scripts"' in frame and 'height="400"' in frame
    inside = html.unescape(re.search(r'srcdoc="(.*?)"', frame, re.DOTALL).group(1))
    assert "kl-answers" in inside and answers_in(inside)["runs"]
    assert set(shown._sources) == set(modules()) and "runs/small" in shown._answers


def test_without_the_widget_package_the_page_stays(small, monkeypatch):
    import sys

    from kernelearn.view.page import widget

    widget._widget_class.cache_clear()
    monkeypatch.setitem(sys.modules, "anywidget", None)
    assert widget.widget(small[0], steps=1, ledgers=1)._repr_html_().startswith("<iframe")
