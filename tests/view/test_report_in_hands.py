"""The report in a reader's hands: choices, pointer and keys change all numbers together, sums stay sums, both
themes are free of barriers, and it plays by itself only for those who want motion.
"""

import numpy as np
import pytest

from kernelearn import explain
from kernelearn.view.report import render_report
from tests.view.small_runs import bars_of


@pytest.fixture(scope="module")
def address(recorded, tmp_path_factory):
    path = tmp_path_factory.mktemp("hands") / "report.html"
    images, classes = bars_of()
    text = render_report(recorded, images=images, labels=classes, training=(images, classes))
    path.write_text(text, "utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def window(browser):
    """A page at 1280 x 800 without motion, and its errors and requests."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(60_000)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on(
        "request", lambda one: wrong.append(one.url) if not one.url.startswith(("file:", "data:")) else None
    )
    yield page, wrong
    context.close()


@pytest.fixture
def opened(window, address):
    """The report as it opens; errors and requests fail the test. One window: each would cost a second."""
    page, wrong = window
    wrong.clear()
    page.mouse.move(0, 0)
    page.goto("about:blank")
    page.goto(address)
    yield page
    assert wrong == []


def number(text):
    return float(text.replace("\u2212", "-").replace(",", "").replace("+", ""))


def bench(page):
    return page.locator(".bench:not([hidden])")


# The first and last texts of each row of the sum on a bench.
ROWS = """(bench) => [...bench.querySelectorAll(".sum tr")].map((row) => [
    row.querySelector("th")?.textContent, [...row.querySelectorAll("td.n")].pop()?.textContent
])"""


def of_rows(rows):
    """(numbers of the column of products, z) as they stand in the table."""
    end = next(i for i, row in enumerate(rows) if row[0] == "z, their sum")
    return [number(row[1]) for row in rows[1:end]], number(rows[end][1])


def sums(page):
    return of_rows(bench(page).evaluate(ROWS))


def sums_of_each(box):
    """The sums under every option of a choice, chosen one after the other."""
    found = box.evaluate(
        f"""(box) => [...box.options].map((option, number) => {{
            const bench = document.querySelector(".bench:not([hidden])");
            const chosen = bench.querySelector(`select[data-choice="${{box.dataset.choice}}"]`);
            chosen.selectedIndex = number;
            chosen.dispatchEvent(new Event("change", {{ bubbles: true }}));
            return ({ROWS})(bench);
        }})"""
    )
    return [of_rows(rows) for rows in found]


def choose(page, what, number_of_option):
    bench(page).locator(f'select[data-choice="{what}"]').select_option(index=number_of_option)


def test_every_choice_of_the_file_adds_up(opened):
    layers = bench(opened).locator('select[data-choice="layer"] option').count()
    assert layers == 3
    for layer in range(layers):
        choose(opened, "layer", layer)
        for what in ("step", "filter", "input channel", "image", "unit"):
            box = bench(opened).locator(f'select[data-choice="{what}"]')
            if box.count():
                for option, (parts, z) in enumerate(sums_of_each(box)):
                    assert sum(parts) == pytest.approx(z, abs=1e-9), (layer, what, option)


def test_the_numbers_are_those_of_the_library(opened, recorded):
    choose(opened, "layer", 0)
    choose(opened, "filter", 2)
    choose(opened, "step", 4)
    step = int(bench(opened).locator('select[data-choice="step"] option').nth(4).text_content().split()[0])
    image = int(bench(opened).locator('select[data-choice="image"] option').first.text_content().split()[0])
    at = bench(opened).locator(".sum caption").text_content().split("(")[1].rstrip(")")
    place = tuple(int(i) for i in at.split(","))
    path = explain.delta(recorded, "edges", *bars_of(), filter=2, at=place, image=image, step=step)
    _, z = sums(opened)
    assert z == pytest.approx(path.unit.z, rel=2e-3)
    words = bench(opened).locator(".readout").inner_text()
    shown = words.split("\u03b4 at z = ")[1].split(";")[0] if "\u03b4 at z" in words else "0"
    assert number(shown) == pytest.approx(path.error, rel=1e-3, abs=1e-9)


def test_the_pointer_changes_the_place_and_leaving_restores_it(opened):
    tile = bench(opened).locator('[data-tile="fz"] canvas')
    before = bench(opened).locator(".sum caption").text_content()
    box = tile.bounding_box()
    opened.mouse.move(box["x"] + 3, box["y"] + 3)
    assert bench(opened).locator(".sum caption").text_content().endswith("at (0, 0)")
    assert sum(sums(opened)[0]) == pytest.approx(sums(opened)[1], abs=1e-9)
    opened.mouse.move(2, 2)
    assert bench(opened).locator(".sum caption").text_content() == before
    tile = bench(opened).locator('[data-tile="fz"] canvas')
    tile.click(position={"x": 3, "y": 3})
    opened.mouse.move(2, 2)
    assert bench(opened).locator(".sum caption").text_content().endswith("at (0, 0)")


def test_a_weight_is_chosen_in_the_kernel(opened):
    cell = bench(opened).locator('[data-tile="fW"] td').nth(7)
    cell.click()
    assert "W[2, 1]" in bench(opened).locator(".readout").inner_text()
    chosen = bench(opened).locator('[data-tile="bW"] td')
    assert [
        i for i, name in enumerate(chosen.evaluate_all("c => c.map(x => x.className)")) if "chosen" in name
    ] == [7]


def test_arrow_keys_move_the_place(opened):
    tile = bench(opened).locator('[data-tile="fz"] canvas')
    tile.click(position={"x": 3, "y": 3})
    bench(opened).locator('[data-tile="fz"] canvas').focus()
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("ArrowDown")
    assert bench(opened).locator(".sum caption").text_content().endswith("at (1, 1)")
    assert bench(opened).locator(".readout").get_attribute("aria-live") == "polite"
    assert opened.evaluate("document.activeElement.tagName") == "CANVAS"
    assert opened.locator("#where").text_content().startswith("step 0")


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (390, "dark"),
        pytest.param(1280, "light", marks=pytest.mark.slow),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
        pytest.param(390, "light", marks=pytest.mark.slow),
    ],
)
def test_no_barriers_and_no_sideways_scroll(browser, address, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    options = {"color_scheme": scheme, "reduced_motion": "reduce"}
    context = browser.new_context(viewport={"width": width, "height": 844}, **options)
    page = context.new_page()
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = axe.run(page).response["violations"]
    told = [
        (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0].get("failureSummary")) for one in found
    ]
    context.close()
    assert told == []


def test_numbers_of_kernels_stay_clear_of_the_edges_of_their_cells(opened):
    read = """cells => cells.filter((cell) => cell.offsetWidth && cell.textContent.trim()).map((cell) => {
        const text = document.createRange();
        text.selectNodeContents(cell);
        const [inner, outer] = [text.getBoundingClientRect(), cell.getBoundingClientRect()];
        return [cell.textContent, Math.min(inner.left - outer.left, outer.right - inner.right)];
    })"""
    room = opened.locator(".kernel td").evaluate_all(read)
    assert any(text.startswith("\u2212") and len(text) == 6 for text, _ in room)
    assert [one for one in room if one[1] < 1.5] == []


def moved(page):
    """Whether the slider has left its beginning, a moment later; the page forbids to wait by script."""
    page.wait_for_timeout(100)
    return page.locator("#step").input_value() != "0"


def test_it_plays_when_first_seen_unless_motion_is_unwanted(browser, address):
    for motion, is_moving in (("no-preference", True), ("reduce", False)):
        context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion=motion)
        page = context.new_page()
        page.goto(address)
        assert page.locator("#step").input_value() == "0"
        page.locator("#kernels").scroll_into_view_if_needed()
        page.evaluate(
            "document.querySelector('#kernels .tiles').scrollIntoView({behavior: 'instant', block: 'center'})"
        )
        if is_moving:
            assert any(moved(page) for _ in range(600))
            now = page.locator("th.now").first.text_content()
            assert now.startswith("step ")
        else:
            page.wait_for_timeout(300)
            assert page.locator("#step").input_value() == "0"
        context.close()


def test_without_a_script_the_first_choice_is_there(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator(".bench").count() == 3
    first = page.locator(".bench").first
    assert first.locator("picture").count() >= 8 and first.locator(".sum").is_visible()
    texts = first.locator(".sum tr").all_inner_texts()
    assert any(text.startswith("z, their sum") for text in texts)
    context.close()


def test_palettes_are_those_of_the_figures(opened, recorded):
    """A cell of the map z has the colour that a figure would give it."""
    from kernelearn.view.families import ACTIVATIONS, shades

    tile = bench(opened).locator('[data-tile="fz"] canvas')
    pixel = tile.evaluate("c => [...c.getContext('2d').getImageData(2, 2, 1, 1).data].slice(0, 3)")
    assert (np.abs(shades(ACTIVATIONS).astype(int) - np.array(pixel)).sum(axis=1) == 0).any()
