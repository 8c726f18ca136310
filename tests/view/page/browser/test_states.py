"""What the page says when something is not there, not sound, or nothing; ten questions of a learner."""

import shutil

import numpy as np
import pytest

from .conftest import deep, reading, serve
from .reader import READY, number


def test_loading_is_told_in_words(browser, site):
    for reader in reading(browser, site):
        reader.page.route("**/api/v1/**", lambda route: None)  # never answered
        reader.page.goto(site.url)
        assert "Reading the run" in reader.text("[role=status]")
        assert reader.page.locator(READY).count() == 0
        reader.page.unroute_all(behavior="ignoreErrors")


LATE = """{ const ask = fetch; fetch = async (...at) => {
    if (document.querySelector(".app[data-step]")) await new Promise(go => setTimeout(go, 1000));
    return ask(...at); } }"""


def test_a_page_has_begun_once_it_can_be_spoken_to(browser, site):
    """Not with the first step that it draws: of a dense layer it then asks for the liveliest weight."""
    for reader in reading(browser, site):
        reader.page.add_init_script(LATE)
        reader.open("layer=answer&step=4")
        assert reader.selection()["layer"] == "answer"


def test_without_a_ledger_the_row_keeps_its_place_and_offers_the_nearest(reader):
    reader.open("layer=conv1&kernel=1&weight=1,1&step=5")
    assert "No ledger at step 5" in reader.text(".stages .empty:visible")
    assert reader.texts(".stages .empty:visible button") == ["← step 4", "step 6 →"]
    assert "Probe images" in reader.text(".imgs h2")
    reader.click(".stages .empty:visible button >> nth=1")
    assert reader.selection()["step"] == 6
    assert reader.page.locator("[data-tile=d-z]").is_visible()


def test_a_probe_image_is_watched_and_not_trained_on(reader):
    reader.open("layer=conv1&kernel=1&weight=1,1&step=4&source=probe")
    assert "watched, not trained on" in reader.text(".stages .empty:visible")
    reader.click("text=Choose an image of the batch")
    assert reader.selection()["source"] == "batch"


def test_the_start_and_the_end(reader):
    reader.open("layer=conv1&weight=1,1&step=0")
    assert "before the first update" in reader.text("#now")
    assert "nothing was updated yet" in reader.text(".why")
    reader.press("ArrowLeft")
    assert reader.selection()["step"] == 0
    reader.press("End", "ArrowRight")
    assert reader.selection()["step"] == 12


def test_nothing_came_back_is_said(browser, tmp_path):
    """Images of zeros: every term is 0, and the page says so."""
    run, *_ = deep(
        tmp_path / "zero", epochs=1, images=(np.zeros((16, 8, 8, 1), "float32"), np.zeros(16, int))
    )
    server = serve([run.folder])
    try:
        for reader in reading(browser, server):
            reader.open("layer=conv1&weight=1,1&step=2")
            assert reader.text("[data-tile=gradient] .sub") == "nothing came back"
            assert "nothing comes back" in reader.text(".imgs h2")
    finally:
        server.stop()


def test_a_broken_ledger_is_an_alert_in_its_place(browser, tmp_path, two_layers):
    folder = tmp_path / "broken"
    shutil.copytree(two_layers[0].folder, folder)
    ledger = folder / "ledger-1.bin"
    content = bytearray(ledger.read_bytes())
    size = len(content)
    for place in range(size // 3, size // 3 + 64):
        content[place] ^= 0xFF
    ledger.write_bytes(content)
    server = serve([folder])
    try:
        for reader in reading(browser, server):
            reader.open("layer=conv1&weight=1,1&step=5")
            states = []
            for step in [int(k) for k in two_layers[0].ledger_steps]:
                reader.page.evaluate(f"microscope.go({step}, {{source: 'batch'}})")
                reader.settle()
                states.append(reader.page.locator("[data-tile=d-z]").is_visible())
            assert 1 <= states.count(False) <= 2, states
            bad = int(two_layers[0].ledger_steps[states.index(False)])
            reader.page.evaluate(f"microscope.go({bad}, {{source: 'batch'}})")
            reader.settle()
            assert reader.page.locator("[role=alert]:visible").count() >= 1
            assert reader.page.locator(".first [role=option]").count() == 5
            reader.problems = [one for one in reader.problems if "422" not in one]
    finally:
        server.stop()


def test_a_server_that_is_gone_is_told(browser, two_layers):
    server = serve([two_layers[0].folder])
    for reader in reading(browser, server):
        reader.open("layer=conv1&weight=1,1&step=4")
        server.stop()
        reader.page.wait_for_selector("#facts [role=alert]")
        assert reader.text("#facts").startswith("the server does not answer"), "the end may be cut off"
        reader.press("Shift+ArrowRight")
        assert "does not answer" in reader.text("#centre")
        reader.problems = [one for one in reader.problems if "ERR_" not in one]


def test_names_are_text_and_never_html(browser, tmp_path, two_layers):
    name = "<img src=x onerror=document.title='hurt'>"
    folder = tmp_path / name
    shutil.copytree(two_layers[0].folder, folder)
    server = serve([folder])
    try:
        for reader in reading(browser, server):
            reader.open("")
            assert name in reader.page.text_content("#run-name")
            assert reader.page.title() == "Microscope"
            assert reader.page.locator("img").count() == 0
    finally:
        server.stop()


def test_hints_lead_to_their_view(reader):
    reader.open("layer=conv2&weight=0,0&step=4")
    reader.page.wait_for_selector("#v-hints:has-text('hint')")
    reader.click("#v-hints")
    looks = reader.page.locator("dialog button:has-text('Look')")
    if not looks.count():
        assert "Nothing stands out" in reader.text("dialog")
        return
    told = reader.page.evaluate("microscope.hints[0].view")
    looks.first.click()
    reader.settle()
    assert reader.selection()["view"] == told["view"]
    assert reader.selection()["layer"] == told.get("layer", "conv2")


class TestLessons:
    def test_prose_and_page_advance_together(self, reader):
        reader.open("")
        reader.press("l")
        reader.page.wait_for_selector(".lessonbox li[aria-current]")
        seen = set()
        for _ in range(40):
            reader.settle()
            seen.add(reader.selection()["lesson"])
            assert "{" not in reader.text(".lessonbox")
            if reader.text(".lnav .pri").startswith("Close"):
                break
            reader.click(".lnav .pri")
        assert len({lesson.split(".")[0] for lesson in seen}) == 8
        assert len(seen) == 30
        reader.click(".lnav .pri")
        assert reader.selection()["lesson"] == ""

    def test_a_phrase_lights_its_tiles(self, reader):
        reader.open("lesson=4.4")
        reader.page.wait_for_selector(".lessonbox li[aria-current]")
        phrase = reader.page.locator(".ph", has_text="this error")
        phrase.click()
        assert "glow" in reader.page.get_attribute("[data-tile=d-z]", "class")
        phrase.click()
        reader.page.mouse.move(5, 400)
        reader.page.evaluate("document.activeElement.blur()")
        assert "glow" not in reader.page.get_attribute("[data-tile=d-z]", "class")

    def test_a_lesson_of_ones_own(self, browser, tmp_path, two_layers):
        from kernelearn.view.page.library import Library
        from kernelearn.view.page.serving import PageServer

        (tmp_path / "9-mine.md").write_text(
            "# <b>Mine</b>\n## One\n{layer: conv2, step: 6, tab: error}\nLook at [<i>W</i>](w).\n"
        )
        server = PageServer(Library([two_layers[0].folder], lessons=tmp_path))
        server.start()
        try:
            for reader in reading(browser, server):
                reader.open("")
                reader.press("l")
                reader.page.wait_for_selector(".lessonbox li[aria-current]")
                reader.page.select_option(".lessonbox select", "8")
                reader.page.wait_for_selector(".ph:has-text('<i>W</i>')")
                reader.settle()
                chosen = reader.selection()
                assert (chosen["layer"], chosen["step"], chosen["tab"]) == ("conv2", 6, "error")
        finally:
            server.stop()


class Learner:
    """Counts what a reader does, from the first page on."""

    def __init__(self, reader):
        self.reader, self.actions = reader.open(""), 0

    def click(self, selector):
        self.actions += 1
        self.reader.click(selector)

    def press(self, key):
        self.actions += 1
        self.reader.press(key)


class TestTenQuestions:
    """Each is answered from the first page with at most five actions."""

    @pytest.fixture
    def learner(self, reader):
        found = Learner(reader)
        yield found
        assert found.actions <= 5

    def test_why_did_this_weight_of_conv1_become_negative(self, learner, two_layers):
        reader = learner.reader
        learner.click(".first [aria-label='kernel 0']")
        learner.press("9")
        learner.click("#now .tbl")
        steps = [(number(row[-1]), at) for at, row in enumerate(reader.rows())]
        falls = min(range(1, len(steps)), key=lambda k: steps[k][0] - steps[k - 1][0])
        learner.press("Escape")
        box = reader.page.locator("#plot > svg").bounding_box()
        x = box["x"] + 8 + falls / 12 * (box["width"] - 16)
        learner.actions += 1
        reader.page.mouse.click(x, box["y"] + box["height"] - 34)
        reader.page.wait_for_selector(f".app[data-step='{falls}']")
        reader.settle()
        assert "Why did W[2,2] move" in reader.text(".why h2")
        cells = reader.page.eval_on_selector_all(
            ".waterfall [data-row]", "all => all.map(one => one.textContent)"
        )
        assert number(cells[-2]) < 0 and len(cells) >= 5

    def test_who_moved_it(self, learner):
        first = learner.reader.page.locator(".strip [role=option]").first.get_attribute("aria-label")
        assert "contributes" in first

    def test_what_does_a_deep_kernel_look_like(self, learner):
        learner.click("#net button:has-text('conv2')")
        learner.click(".first [aria-label='kernel 3']")
        assert len(learner.reader.numbers("w")) == 2
        assert learner.reader.text(".left h2 >> nth=1") == "5 slices of kernel 3"

    def test_how_does_one_number_come_about(self, learner):
        learner.click("[data-tile=z] .map")
        assert len([t for t in learner.reader.svg_texts(".neuron [data-part]") if t]) >= 9

    def test_where_does_its_error_come_from(self, learner):
        learner.press("e")
        assert "δ(conv2)" in learner.reader.text("#neuron") or "Nothing comes back" in learner.reader.text(
            "#neuron"
        )

    def test_how_much_was_remembered(self, learner):
        learner.press("Shift+ArrowRight")
        assert "% by the gradients before" in learner.reader.text(
            ".why"
        ) or "earlier" in learner.reader.page.text_content(".why")

    def test_how_did_the_loss_go(self, learner):
        learner.click("#now .tbl")
        rows = learner.reader.rows()
        assert len(rows) == 13 and number(rows[-1][0]) > 0

    def test_is_a_kernel_more_than_chance(self, learner):
        learner.click("#v-families")
        learner.reader.page.wait_for_selector(".families tbody tr")
        assert "chance gives" in learner.reader.text(".families p")

    def test_what_would_a_dense_layer_have(self, learner):
        learner.press("d")
        assert "always zero" in learner.reader.text(".pair")

    def test_how_far_did_it_come(self, learner):
        learner.press("End")
        assert "It moved" in learner.reader.text(".way .note")
