"""The same modules in a file, in a notebook, over one's own picture; and nothing that reaches outside."""

import http.server
import json
import threading

import numpy as np
import pytest

from kernelearn.view.page.exporting import export
from kernelearn.view.page.widget import widget
from tests.sweeps import some

from .conftest import reading
from .reader import READY, Reader, number

MOST = 150_000  # bytes of script and style, packed
CELL = """<!doctype html><title>cell</title><p id=own>own text</p><div id=cell style="width:1100px"></div>
<script type=module>
import widget from "./widget.js";
const traits = await (await fetch("traits.json")).json();
await widget.render({ model: { get: name => traits[name] }, el: document.getElementById("cell") });
</script>"""


@pytest.fixture(scope="module")
def file(tmp_path_factory, two_layers):
    path = tmp_path_factory.mktemp("file") / "page.html"
    export(two_layers[0], path, steps=6, ledgers=3)
    return path


@pytest.fixture
def alone(browser):
    """A reader without a server; every request to anywhere is refused and noted."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    found = Reader(context).note_requests()
    yield found
    assert found.problems == []
    assert found.foreign == []
    context.close()


def open_file(reader, path, address=""):
    reader.page.goto("about:blank")
    reader.page.goto(f"file://{path}#{address}")
    reader.page.wait_for_selector(READY)
    reader.settle()


def test_script_and_style_are_small():
    import gzip

    from kernelearn.view.page.frontend import modules, style

    packed = gzip.compress("".join([*modules().values(), style()]).encode(), 9)
    print(f"script and style: {len(packed):,} bytes gzipped")
    assert len(packed) < MOST


class TestFile:
    def test_holds_what_it_says_and_asks_nobody(self, alone, file, two_layers):
        open_file(alone, file)
        assert "of 13 steps" in alone.page.get_attribute("#facts", "title")
        assert alone.page.locator("#v-hints").is_visible()
        stops = alone.in_page("[...microscope.time.stops]")
        for key in ("End", "Home", "Shift+ArrowRight"):
            alone.press(key)
            assert alone.selection()["step"] in stops
        for address in (
            "view=dense",
            "view=families",
            "view=compare",
            "lesson=4.2",
            "layer=conv2&tab=error",
            "layer=answer",
        ):
            open_file(alone, file, address)
            assert alone.page.locator("#now").is_visible()

    def test_numbers_are_the_librarys(self, alone, file, two_layers):
        run = two_layers[0]
        open_file(alone, file, "layer=conv1&kernel=2&weight=0,1&scope=batch")
        step = alone.selection()["step"]
        assert step in run.ledger_steps
        shown = np.array(alone.numbers("gradient"), float)
        np.testing.assert_allclose(shown, run.gradient("conv1", step)[:, :, 0, 2], rtol=6e-4)
        cells = alone.page.eval_on_selector_all(
            ".waterfall [data-row]", "all => all.map(one => one.textContent)"
        )
        before, *parts, update, after = map(number, cells)
        assert sum(parts) == pytest.approx(update, abs=1e-9)
        assert before + update == pytest.approx(after, abs=1e-9)
        assert after == pytest.approx(float(run.kernels("conv1", step)[0, 1, 0, 2]), abs=1e-6)

    def test_the_browser_itself_refuses_what_is_foreign(self, browser, file):
        context = browser.new_context()
        reader = Reader(context)
        open_file(reader, file)
        told = reader.in_page("fetch('https://example.org/x').then(() => 'went out', error => String(error))")
        assert told != "went out"
        context.close()

    def test_axe(self, alone, file):
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        open_file(alone, file)
        found = axe.run(alone.page).response["violations"]
        assert not [one["id"] for one in found if one["impact"] in ("serious", "critical")]


def test_no_view_of_the_server_asks_anybody_else(browser, site):
    for reader in reading(browser, site):
        reader.note_requests()
        for view in ("bench", "dense", "families", "compare"):
            reader.open(f"view={view}")
        reader.press("l", "t")
        assert reader.foreign == []


class TestNotebook:
    def test_a_saved_output_is_the_page(self, alone, tmp_path, two_layers):
        output = widget(two_layers[0], steps=4, ledgers=2)._repr_mimebundle_()
        text = (output[0] if isinstance(output, tuple) else output)["text/html"]
        path = tmp_path / "notebook.html"
        path.write_text(f"<!doctype html><title>A notebook</title><body>{text}</body>", encoding="utf-8")
        alone.page.goto(f"file://{path}")
        frame = alone.page.frame_locator("iframe")
        frame.locator(READY).wait_for()
        frame.locator("#c-on").click()
        assert frame.locator("[data-tile=w]").is_visible()

    def test_a_living_widget_stands_in_a_shadow(self, browser, tmp_path, two_layers):
        """The loader with the traits of the widget: modules once each, styles that stay inside."""
        pytest.importorskip("anywidget")
        made = widget(two_layers[0], steps=4, ledgers=2)
        traits = {name: getattr(made, name) for name in ("_sources", "_style", "_answers", "_address")}
        (tmp_path / "widget.js").write_text(made._esm if isinstance(made._esm, str) else str(made._esm))
        (tmp_path / "traits.json").write_text(json.dumps(traits))
        (tmp_path / "index.html").write_text(CELL)
        with serving_files(tmp_path) as port:
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            problems = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(f"http://127.0.0.1:{port}/index.html")
            page.wait_for_selector(READY)
            own = page.evaluate("getComputedStyle(document.getElementById('own')).marginTop")
            assert own != "0px"
            page.click("#c-on")
            page.click("#net button:has-text('conv2')")
            page.wait_for_selector(".first h2:has-text('4 kernels of conv2')")
            assert page.evaluate("location.hash") == ""
            assert problems == []
            context.close()

    @pytest.mark.slow
    def test_an_executed_notebook_opened_as_html(self, alone, tmp_path, two_layers):
        """Executed by a kernel, saved, read again, and shown as every reader of notebooks shows outputs."""
        nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
        call = f"widget({str(two_layers[0].folder)!r}, steps=4, ledgers=2)"
        code = f"from kernelearn.view.page.widget import widget\n{call}"
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        nbclient.NotebookClient(book, timeout=120).execute()
        saved = nbformat.reads(nbformat.writes(book), as_version=4)
        outputs = [output.data["text/html"] for output in saved.cells[0].outputs if "data" in output]
        path = tmp_path / "book.html"
        path.write_text(f"<!doctype html><title>book</title>{''.join(outputs)}", encoding="utf-8")
        alone.page.goto(f"file://{path}")
        frame = alone.page.frame_locator("iframe")
        frame.locator(READY).wait_for()
        assert frame.locator(".first h2").inner_text().endswith("kernels of conv1")


class serving_files:
    """A plain server over a folder."""

    def __init__(self, folder):
        def handler(*args, **kwargs):
            quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
            return quiet(*args, directory=folder, **kwargs)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.server.server_address[1]

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class TestOwnPicture:
    def test_a_file(self, reader, two_layers):
        image = pytest.importorskip("PIL.Image")
        import io

        content = io.BytesIO()
        pixels = (np.arange(64).reshape(8, 8) * 4).astype("uint8")
        image.fromarray(pixels).save(content, "PNG")
        reader.open("layer=conv1&weight=1,1&step=4")
        reader.page.get_by_role("button", name="own", exact=True).click()
        reader.page.set_input_files(
            "dialog input[type=file]",
            {"name": "own.png", "mimeType": "image/png", "buffer": content.getvalue()},
        )
        reader.page.wait_for_selector(".imgs h2:has-text('Your own picture')")
        reader.settle()
        assert reader.selection()["source"] == "own"
        shown = np.array(reader.numbers("x"), float)
        assert shown.shape == (8, 8) and np.corrcoef(shown.ravel(), pixels.ravel())[0, 1] > 0.999
        assert "watched, not trained on" in reader.text(".stages .empty:visible")
        np.testing.assert_allclose(
            np.array(reader.numbers("w"), float), two_layers[0].kernels("conv1", 4)[:, :, 0, 0], rtol=6e-4
        )
        reader.press("ArrowRight")
        assert reader.selection()["source"] == "own"

    def test_a_drawing(self, reader):
        reader.open("layer=conv1&weight=1,1&step=4")
        reader.page.get_by_role("button", name="own", exact=True).click()
        box = reader.page.locator("dialog canvas").bounding_box()
        reader.page.mouse.move(box["x"] + 40, box["y"] + 40)
        reader.page.mouse.down()
        reader.page.mouse.move(box["x"] + 180, box["y"] + 180, steps=12)
        reader.page.mouse.up()
        reader.page.click("text=Use the drawing")
        reader.page.wait_for_selector(".imgs h2:has-text('Your own picture')")
        reader.settle()
        shown = np.array(reader.numbers("x"), float)
        assert np.trace(shown) > 4 * abs(shown[0, 7]) and shown[0, 7] == shown.min()

    def test_what_is_no_image_is_refused_in_words(self, reader):
        reader.open("layer=conv1&weight=1,1&step=4")
        reader.page.get_by_role("button", name="own", exact=True).click()
        reader.page.set_input_files(
            "dialog input[type=file]", {"name": "own.png", "mimeType": "image/png", "buffer": b"no image"}
        )
        reader.page.wait_for_selector("dialog [role=status]:has-text('image')")
        assert reader.selection()["source"] == "batch"
        reader.problems = [one for one in reader.problems if "status of 4" not in one]


@pytest.mark.parametrize(("steps", "hovers"), some([(2, 6), (12, 30)], quick=1))
def test_timings_are_measured_and_reported(reader, record_property, steps, hovers):
    """Of some changes of step and of hover: printed, not asserted."""
    reader.open("layer=conv1&weight=1,1&step=0")
    reader.press(*["ArrowRight"] * steps, *["ArrowLeft"] * steps)
    box = reader.page.locator("[data-tile=z] .map").bounding_box()
    for i in range(hovers):
        reader.page.mouse.move(box["x"] + 4 + 90 * i / hovers, box["y"] + 50)
    found = reader.in_page("""(() => {
        const middle = list => [...list].sort((a, b) => a - b)[list.length >> 1];
        const { step, hover } = microscope.timings;
        const [all, drawing] = [0, 1].map(at => middle(step.map(one => one[at])));
        return { step: all, drawing, hover: middle(hover) } })()""")
    for name, value in found.items():
        record_property(f"milliseconds of a {name}", round(value, 1))
    print({name: f"{value:.1f} ms" for name, value in found.items()})
    assert set(found) == {"step", "drawing", "hover"}


def test_a_reader_of_a_new_context_needs_the_token(browser, site):
    for reader in reading(browser, site):
        reader.page.goto(site.url.split("?")[0])
        assert reader.page.locator(READY).count() == 0
        reader.problems = [one for one in reader.problems if "403" not in one and "401" not in one]
