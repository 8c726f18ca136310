"""The report in a real browser: no error, no request, the slider changes the numbers, sums are what is shown.

A script is added to a copy of the page; it plays a reader and leaves what it saw in the page's title, which
the browser prints. Skipped where no Chromium is installed.
"""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from kernelearn.view.report import render_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")

WATCH = """<script>
const seen = {errors: [], violations: []};
addEventListener("error", (event) => seen.errors.push(String(event.message)), true);
addEventListener("unhandledrejection", (event) => seen.errors.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => seen.violations.push(event.blockedURI));
console.error = (...words) => seen.errors.push(words.join(" "));
</script>"""
READER = """<script>
function cells() {
  return Array.from(document.querySelectorAll('[data-film="edges"] td')).map((cell) => cell.textContent);
}
function press(key) {
  document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
}
const slider = document.getElementById("step");
seen.classes = document.documentElement.className;
seen.frames = {opened: cells()};
slider.value = slider.max; slider.dispatchEvent(new Event("input"));
seen.frames.last = cells();
slider.value = "0"; slider.dispatchEvent(new Event("input"));
seen.frames.first = cells();
seen.bias = document.querySelector('[data-film="edges"] .bias').textContent;
seen.hash = location.hash;
press("ArrowRight"); press("ArrowRight"); press("ArrowLeft");
seen.frames.afterKeys = cells();
seen.where = document.getElementById("where").textContent;
seen.colours = getComputedStyle(document.querySelector('[data-film="edges"] td')).backgroundColor;
const weights = Array.from(document.querySelectorAll("#weights .choice"));
const articles = Array.from(document.querySelectorAll("#weights article"));
const visible = () => articles.filter((one) => one.offsetParent);
seen.articles = {count: articles.length, first: visible().length};
const select = weights[0].querySelector(":scope > .chooser select");
seen.articles.before = visible()[0].querySelector("h3").textContent;
select.selectedIndex = 1; select.dispatchEvent(new Event("change"));
seen.articles.after = visible()[0].querySelector("h3").textContent;
seen.articles.option = select.options[1].textContent;
seen.ledgers = Array.from(document.querySelectorAll(".ledger")).map((table) => ({
  terms: Array.from(table.querySelectorAll(".term")).map((cell) => cell.textContent),
  rest: table.querySelector("[data-row=rest] td")?.textContent ?? "0",
  total: table.querySelector("[data-row=total] td").textContent,
}));
seen.broken = Array.from(document.images).filter((image) => {
  image.loading = "eager";
  return image.complete && image.naturalWidth === 0 && image.src !== "";
}).length;
seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
document.getElementById("kernels").scrollIntoView();
slider.focus();
slider.dispatchEvent(new KeyboardEvent("keydown", {key: " ", bubbles: true, cancelable: true}));
seen.playing = document.getElementById("play").getAttribute("aria-pressed");
setTimeout(() => {
  seen.played = Number(slider.value);
  const names = performance.getEntriesByType("resource").map((one) => one.name);
  seen.requests = names.filter((name) => !name.startsWith("data:"));
  document.title = JSON.stringify(seen);
}, 1500);
</script>"""


def opened(text, folder, width=1200, scheme="light"):
    """(what the reader saw, what the browser logged to its console)."""
    page = folder / "page.html"
    page.write_text(text.replace("<head>", "<head>" + WATCH).replace("</body>", READER + "</body>"), "utf-8")
    words = [
        BROWSER,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        "--enable-logging=stderr",
    ]
    words += [
        f"--window-size={width},900",
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=6000",
    ]
    # Whatever would leave the page ends at a proxy that is not there.
    words += ["--proxy-server=127.0.0.1:9", "--disable-background-networking", "--no-first-run"]
    words += ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    done = subprocess.run([*words, page.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None and title[1].startswith("{"), done.stdout[:500] + done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(title[1])), console


@pytest.fixture(scope="module")
def text(recorded):
    return render_report(recorded)


@pytest.fixture(scope="module")
def visit(text, tmp_path_factory):
    return opened(text, tmp_path_factory.mktemp("browser"))


def number(text):
    return float(text.replace("\u2212", "-"))


def test_no_error_and_no_request(visit):
    seen, console = visit
    assert seen["errors"] == [] and console == []
    assert seen["requests"] == [] and seen["violations"] == [] and seen["broken"] == 0


def test_the_policy_stops_a_request(text, tmp_path):
    seen, console = opened(text.replace("</main>", '<img src="https://example.com/a.png"></main>'), tmp_path)
    assert seen["violations"] == ["https://example.com/a.png"] and console


def test_the_slider_shows_the_kernels_of_its_step(visit, recorded):
    seen, _ = visit
    frames = {"opened": 0, "first": 0, "last": recorded.last_step, "afterKeys": 1}
    for name, step in frames.items():
        kernel = recorded.kernels("edges", step)
        shown = np.array([number(cell) for cell in seen["frames"][name]]).reshape(-1, 3, 3)
        np.testing.assert_allclose(shown, np.moveaxis(kernel[:, :, 0], -1, 0), atol=5.01e-4)
    assert seen["frames"]["first"] != seen["frames"]["last"]
    assert number(seen["bias"]) == recorded.kernels("edges", 0, "bias")[0]
    assert seen["hash"] == "#step=0" and seen["where"].startswith("step 1, loss ")


def test_the_reader_chooses_a_weight(visit):
    articles = visit[0]["articles"]
    assert articles["count"] == 9 and articles["first"] == 3
    assert articles["after"] == articles["option"] != articles["before"]


def test_the_space_bar_plays_from_the_slider(visit):
    seen, _ = visit
    assert seen["playing"] == "true" and seen["played"] > 1 and seen["classes"] == ""


def test_totals_are_the_sums_of_what_is_shown(visit):
    seen, _ = visit
    assert len(seen["ledgers"]) >= 9
    for ledger in seen["ledgers"]:
        places = len(ledger["total"].partition(".")[2])
        total = sum(map(number, [*ledger["terms"], ledger["rest"]]))
        assert round(total, places) == number(ledger["total"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_small_screen(text, tmp_path, scheme):
    seen, console = opened(text, tmp_path, width=500, scheme=scheme)
    assert seen["overflow"] == 0 and console == []
    assert seen["colours"] not in ("", "rgba(0, 0, 0, 0)")
