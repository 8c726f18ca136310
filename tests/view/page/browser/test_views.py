"""Every view draws, fits where it must, stays where it was, and can be read by everyone."""

import re
from pathlib import Path

import pytest

from .conftest import reading, serve

GOLDEN = Path(__file__).with_name("bench.aria.txt")
_NUMBERS = re.compile(r"[+−]\d[\d.]*|10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+|\d+ (?=of 64)|(?<=image )\d+|(?<=class )\d+")

VIEWS = {
    "bench": "layer=conv1&weight=1,1&step=4",
    "bench of a deep layer": "layer=conv2&weight=0,0&step=6&tab=error&scope=batch",
    "bench of a dense layer": "layer=answer&step=8",
    "forward alone": "layer=conv1&weight=1,1&step=4&rows=forward",
    "without a ledger": "layer=conv1&weight=1,1&step=5",
    "the start": "layer=conv1&weight=1,1&step=0",
    "dense": "layer=conv1&weight=1,1&step=4&view=dense",
    "dense of a dense layer": "layer=answer&step=8&view=dense",
    "families": "layer=conv1&weight=1,1&step=4&view=families",
    "compare": "layer=conv1&weight=1,1&step=4&view=compare",
    "minus marks": "layer=conv1&weight=1,1&step=4&signs=1",
    **{f"lesson {i}": f"lesson={i}.1" for i in range(1, 9)},
}


QUICK = ["bench", "bench of a deep layer", "without a ledger", "dense", "compare", "lesson 4"]


def overflow(reader):
    return reader.in_page(
        """(() => { const e = document.documentElement;
        return [e.scrollHeight - innerHeight, e.scrollWidth - innerWidth] })()"""
    )


def keep(reader, folder, name):
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        reader.page.screenshot(path=folder / f"{name.replace(' ', '-')}.png")


@pytest.mark.parametrize(
    "names", [QUICK, pytest.param(list(VIEWS), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_nothing_scrolls_on_a_projector_and_the_slider_stays(reader, pictures_to_keep, names):
    """1280 x 720: every view fits, and the slider is at the same place in all of them."""
    places = {}
    for name, address in ((name, VIEWS[name]) for name in names):
        reader.open(address)
        assert overflow(reader) == [0, 0], name
        places[name] = reader.page.locator("#plot").bounding_box()["y"]
        keep(reader, pictures_to_keep, f"projector {name}")
    assert max(places.values()) - min(places.values()) < 1, places


@pytest.mark.parametrize(
    "name",
    [
        "bench",
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in (
                "bench of a dense layer",
                "without a ledger",
                "dense",
                "families",
                "compare",
                "lesson 4",
            )
        ),
    ],
)
def test_a_phone_does_not_scroll_sideways(browser, site, name, pictures_to_keep):
    for reader in reading(browser, site, viewport={"width": 390, "height": 844}, has_touch=True):
        reader.open(VIEWS[name])
        assert overflow(reader)[1] == 0
        time = reader.page.locator("#time").bounding_box()
        assert time["y"] + time["height"] == pytest.approx(844, abs=1)
        keep(reader, pictures_to_keep, f"phone {name}")
        if name == "bench":  # transposed: forward on the left, backward beside it
            up, down = (reader.page.locator(f"[data-tile={one}]").bounding_box() for one in ("z", "d-z"))
            assert abs(up["y"] - down["y"]) < 1 and up["x"] < down["x"]


@pytest.mark.slow
def test_a_wide_screen_in_the_dark(browser, site, pictures_to_keep):
    for reader in reading(browser, site, viewport={"width": 1440, "height": 900}, color_scheme="dark"):
        for name in ("bench", "dense", "lesson 5", "families"):
            reader.open(VIEWS[name])
            assert overflow(reader) == [0, 0], name
            keep(reader, pictures_to_keep, f"wide dark {name}")


def test_the_network_says_sizes_counts_and_answer(reader):
    reader.open(VIEWS["bench"])
    nodes = reader.texts("#net .node")
    assert nodes[0].split("\n") == ["input", "8×8×1", "1 channel"]
    assert nodes[1].split("\n") == ["conv1", "8×8×5", "(3·3·1+1)·5 = 50"]
    assert nodes[2].split("\n")[2] == "largest of 2×2"
    assert "says" in nodes[-1] and "loss" in nodes[-1]
    reader.click("#net button:has-text('conv2')")
    assert reader.selection()["layer"] == "conv2"
    assert reader.text(".first h2") == "4 kernels of conv2"


def test_the_order_of_kernels(reader, two_layers):
    import numpy as np

    reader.open("layer=conv1&weight=1,1&step=12&source=probe&order=change")
    run = two_layers[0]
    change = run.kernels("conv1", 12) - run.kernels("conv1", 0)
    wanted = np.argsort(-np.linalg.norm(change.reshape(9, 5), axis=0)).tolist()
    shown = reader.page.eval_on_selector_all(
        ".first [role=option]", "all => all.map(one => Number(one.dataset.number))"
    )
    assert shown == wanted
    reader.page.select_option(".first select", "filter")
    reader.settle()
    assert reader.selection()["order"] == "filter"


def test_how_far_a_kernel_came(reader, two_layers):
    import numpy as np

    reader.open("layer=conv1&kernel=3&weight=1,1&step=12&source=probe")
    run = two_layers[0]
    change = (run.kernels("conv1", 12) - run.kernels("conv1", 0))[:, :, 0, 3]
    reader.page.select_option(".way select", "0")
    note = reader.text(".way .note")
    assert f"{np.linalg.norm(change):.2g}"[:4] in note


def test_families_beside_chance(reader, two_layers):
    from kernelearn import explain

    reader.open(VIEWS["families"])
    reader.page.wait_for_selector(".families tbody tr")
    rows = reader.page.locator(".families tbody tr")
    assert rows.count() == 5
    bank = explain.filter_bank(two_layers[0], "conv1", 4, "kernel", samples=499)
    for number, text in enumerate(rows.all_inner_texts()):
        assert bank.best[number].replace("_", " ") in text
    rows.nth(3).click()
    reader.settle()
    assert reader.selection()["kernel"] == 3


def test_reduced_motion_and_theme(reader):
    reader.open(VIEWS["bench"])
    light = reader.in_page("getComputedStyle(document.body).backgroundColor")
    cell = reader.in_page("document.querySelector('[data-tile=w] rect').getAttribute('fill')")
    reader.click("#v-theme")
    assert reader.in_page("getComputedStyle(document.body).backgroundColor") != light
    assert reader.in_page("document.querySelector('[data-tile=w] rect').getAttribute('fill')") != cell
    reader.page.emulate_media(reduced_motion="reduce")
    assert reader.in_page("getComputedStyle(document.querySelector('.tile')).transitionDuration") in (
        "0s",
        "",
    )


def test_tiles_are_changed_and_not_made_anew(reader):
    """The same elements at another step: nothing is rebuilt."""
    reader.open(VIEWS["bench"])
    kept = "[...document.querySelectorAll('.tile rect, .first button, #plot path, .waterfall g')]"
    reader.in_page(f"{kept}.forEach(e => {{ e.kept = true }})")
    reader.press("Shift+ArrowRight")
    assert reader.in_page(f"{kept}.filter(e => !e.kept).length") <= 2
    assert reader.in_page(f"{kept}.length") > 300


class TestEveryone:
    """What a screen reader, a keyboard and a colour-blind reader get."""

    def test_axe_finds_nothing_serious_on_the_bench(self, reader):
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        reader.open(VIEWS["bench"])
        check(axe, reader, "bench")

    @pytest.mark.slow
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing_serious_anywhere(self, browser, site, scheme):
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        for reader in reading(browser, site, color_scheme=scheme):
            for name in (
                "bench",
                "bench of a deep layer",
                "bench of a dense layer",
                "without a ledger",
                "dense",
                "families",
                "compare",
                "lesson 4",
            ):
                reader.open(VIEWS[name])
                check(axe, reader, name)
            reader.open(VIEWS["bench"])
            for key in ("?", "t"):
                reader.page.keyboard.press(key)
                check(axe, reader, f"dialog of {key}")
                reader.page.keyboard.press("Escape")
        for reader in reading(browser, site, color_scheme=scheme, viewport={"width": 390, "height": 844}):
            reader.open(VIEWS["bench"])
            check(axe, reader, "phone")

    def test_the_bench_as_it_is_read_aloud(self, reader):
        """What a screen reader gets of the bench is what stands in the golden file."""
        reader.open("layer=conv1&kernel=2&weight=1,1&step=4&at=3,4")
        found = reader.page.locator(".stages").aria_snapshot()
        # Numbers of a trained network differ a little between processors: their places are compared.
        assert _NUMBERS.sub("#", found) == GOLDEN.read_text(encoding="utf-8").strip()

    def test_every_canvas_has_a_name_and_a_table(self, reader):
        for name in ("bench", "dense", "families"):
            reader.open(VIEWS[name])
            bare = reader.in_page(
                """[...document.querySelectorAll('canvas:not([aria-hidden=true], [aria-label])')]
                .filter(e => e.offsetParent).length"""
            )
            assert bare == 0
        reader.open(VIEWS["bench"])
        for tile in ("x", "w", "z", "a", "pool", "terms", "gradient", "d-z", "d-a", "d-pool"):
            assert reader.table(tile), tile
        reader.open(VIEWS["dense"])
        reader.page.click("[aria-label='Table of the weights']")
        assert len(reader.rows()) > 40


def check(axe, reader, name):
    found = axe.run(reader.page).response["violations"]
    bad = [
        (one["id"], [node["target"] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert not bad, (name, bad)


def test_two_runs_over_each_other(browser, tmp_path, two_layers):
    from .conftest import deep

    other, *_ = deep(tmp_path / "other", epochs=2)
    server = serve([two_layers[0].folder, other.folder])
    try:
        for reader in reading(browser, server):
            reader.open("run=deep&layer=conv1&kernel=1&weight=1,1&step=4&view=compare&with=other")
            assert len(reader.page.locator(".curves path[d^=M]").all()) == 2
            assert reader.texts(".kernels-beside figcaption") == ["deep, step 4", "other, step 4"]
            assert overflow(reader) == [0, 0]
            assert reader.page.locator("#plot .second").get_attribute("d").startswith("M")
            reader.page.select_option("#run-name select", "other")
            reader.page.wait_for_selector("#now:has-text('of 6')")
            reader.settle()
            assert reader.selection()["run"] == "other"
    finally:
        server.stop()
