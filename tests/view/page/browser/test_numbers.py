"""Numbers on the screen are those of the library, and what is shown as a sum adds up as it is shown."""

import numpy as np
import pytest

from kernelearn import explain
from kernelearn.view.page.blocks import read_blocks

from ..runs import NETWORKS, recorded
from .conftest import reading, serve
from .reader import last_digit, number

FOUR_DIGITS = 6e-4  # half a unit of four digits, relative


def blocks(server, name, **params):
    """Arrays of an answer of the server's own library."""
    from kernelearn.view.page.answers import answer

    key = next(iter(server.site.library.runs))
    found = answer(server.site.library, f"runs/{key}/{name}", {k: str(v) for k, v in params.items()})
    return read_blocks(found.body)[1]


def same(shown, wanted):
    """Whether numbers shown with four digits are these."""
    found = np.array([[np.nan if value is None else value for value in row] for row in shown])
    wide = np.asarray(wanted, float).reshape(found.shape)
    np.testing.assert_allclose(found, wide, rtol=FOUR_DIGITS, atol=1e-12)


class TestTables:
    """Tables of all tiles, for one image of a batch."""

    def test_forward_and_back(self, reader, two_layers):
        run = two_layers[0]
        image = int(run.batch(4).images[3])
        reader.open(f"layer=conv1&kernel=2&weight=0,1&step=4&image={image}&at=3,4")
        path = explain.delta(run, "conv1", *two_layers[1:], filter=2, at=(3, 4), image=image, step=4)
        arrays = blocks(reader.server, "batch", layer="conv1", step=4)
        same(reader.numbers("x"), run.ledger("conv1", 4).x[3, :, :, 0])
        same(reader.numbers("w"), run.kernels("conv1", 3)[:, :, 0, 2])
        for name in ("z", "a", "pool"):
            same(reader.numbers(name), arrays[name][3, ..., 2])
        same(reader.numbers("d-z"), run.ledger("conv1", 4).delta[3, ..., 2])
        same(reader.numbers("d-pool"), arrays["dpool"][3, ..., 2])
        assert abs(path.unit.z - arrays["z"][3, 3, 4, 2]) < 1e-6
        book = explain.ledger(run, "conv1", 4, (0, 1, 0, 2))
        own = np.where(book.rows == 3, book.terms, 0.0)
        terms = np.bincount(np.ravel_multi_index(book.positions.T, (8, 8)), own, 64)
        same(reader.numbers("terms"), terms)

    def test_all_images_and_the_engines_gradient(self, reader, two_layers):
        run = two_layers[0]
        reader.open("layer=conv2&kernel=1&slice=3&weight=1,0&step=6&scope=batch")
        same(reader.numbers("gradient"), run.gradient("conv2", 6)[:, :, 3, 1])
        book = explain.ledger(run, "conv2", 6, (1, 0, 3, 1))
        same(reader.numbers("terms"), book.by_position())
        total = number(reader.text("[data-tile=terms] .sub").removeprefix("Σ = "))
        assert total == pytest.approx(book.total, rel=6e-3)

    def test_ranking_of_images(self, reader, two_layers):
        run = two_layers[0]
        reader.open("layer=conv1&kernel=2&weight=0,1&step=4")
        book = explain.ledger(run, "conv1", 4, (0, 1, 0, 2)).by_image()
        wanted = sorted(zip(book.keys.tolist(), book.sums.tolist()), key=lambda one: -abs(one[1]))
        shares = reader.page.eval_on_selector_all(
            ".strip [role=option]", "all => all.map(one => Number(one.dataset.share))"
        )
        assert shares == pytest.approx([value for _, value in wanted], rel=1e-9)
        labels = reader.page.eval_on_selector_all(
            ".strip [role=option]", "all => all.map(one => one.getAttribute('aria-label'))"
        )
        assert [int(label.split(",")[0].removeprefix("image ")) for label in labels] == [k for k, _ in wanted]

    def test_a_probe_image_uses_the_weights_after_the_step(self, reader, two_layers):
        run = two_layers[0]
        reader.open("layer=conv1&kernel=0&step=5&probe=2")
        same(reader.numbers("w"), run.kernels("conv1", 5)[:, :, 0, 0])
        unit = explain.unit(run, "conv1", filter=0, at=(2, 2), image=run.probe_images[2], step=5)
        assert reader.numbers("z")[2][2] == pytest.approx(unit.z, rel=FOUR_DIGITS)

    def test_dense_layer(self, reader, two_layers):
        run = two_layers[0]
        image = int(run.batch(8).images[2])
        reader.open(f"layer=answer&kernel=2&step=8&image={image}")
        kernel = run.kernels("answer", 7)[:, 2]
        shown = np.ravel(reader.numbers("w"))
        np.testing.assert_allclose(shown.astype(float), kernel, rtol=FOUR_DIGITS)
        assert np.ravel(reader.numbers("d-z")).astype(float) == pytest.approx(
            run.ledger("answer", 8).delta[2], rel=FOUR_DIGITS
        )


class TestSums:
    """What is shown adds up as it is shown."""

    @pytest.mark.parametrize(
        "address",
        [
            "layer=conv1&step=4&kernel=1&at=0,0",
            "layer=conv2&step=4&kernel=1&at=1,1",
            "layer=answer&step=4",
            "layer=conv1&step=5&probe=1&at=4,4",
        ],
    )
    def test_the_neuron(self, reader, address):
        reader.open(address)
        parts = [text for text in reader.svg_texts(".neuron [data-part]") if text]
        bias = [t for t in reader.svg_texts(".neuron text") if t == "bias b"]
        column = sum(number(part) for part in parts)
        if bias:
            column += number(
                reader.in_page("""() => {
                const all = [...document.querySelectorAll('.neuron text')];
                return all[all.findIndex(one => one.textContent === 'bias b') - 1].textContent }""")
            )
        total = reader.svg_texts(".neuron [data-sum]")[0]
        assert column == pytest.approx(number(total), abs=1e-9)

    def test_the_error_of_a_neuron(self, reader, two_layers):
        run = two_layers[0]
        reader.open("layer=conv1&kernel=2&step=4&tab=error")
        image = reader.in_page("microscope.frame.stage.images[microscope.frame.row]")
        at = tuple(reader.in_page("microscope.bench.columns[2].up.tile.chosen"))
        reader.page.wait_for_selector(".neuron [data-part] >> nth=2")
        reader.settle()
        parts = [number(text) for text in reader.svg_texts(".neuron [data-part]") if text]
        total = number(reader.svg_texts(".neuron [data-sum]")[0])
        assert len(parts) > 2
        assert sum(parts) == pytest.approx(total, abs=1e-9)
        path = explain.delta(run, "conv1", *two_layers[1:], filter=2, at=at, image=image, step=4)
        above = next(hop for hop in path.hops if hop.parts and hop.parts[0].layer == "conv2")
        scale = total / above.total
        assert scale == pytest.approx(10.0 ** round(np.log10(scale)), rel=1e-3)

    @pytest.mark.parametrize(
        "address", ["layer=conv1&step=4&kernel=1", "layer=conv2&step=7", "layer=answer&step=9"]
    )
    def test_the_update(self, reader, address, two_layers):
        reader.open(address)
        cells = reader.page.eval_on_selector_all(
            ".waterfall [data-row]", "all => all.map(one => [one.dataset.row, one.textContent])"
        )
        before, *parts, update, after = [number(text) for _, text in cells]
        unit = last_digit(cells[0][1])
        assert sum(parts) == pytest.approx(update, abs=unit / 100)
        assert before + update == pytest.approx(after, abs=unit / 100)
        chosen = reader.selection()
        index = (*chosen["weight"], chosen["slice"], chosen["kernel"])
        if chosen["layer"] == "answer":
            index = (
                reader.in_page("microscope.frame.layer.index(microscope.state.pinned.weight, 0, 0)[0]"),
                0,
            )
        split = explain.update_split(two_layers[0], chosen["layer"], chosen["step"])
        assert update == pytest.approx(float(split.update[index]), abs=unit)
        for part, (_name, values) in zip(parts, split.parts.items()):
            assert part == pytest.approx(float(values[index]), abs=unit)

    def test_the_diagonal_of_the_dense_layer(self, reader, two_layers):
        reader.open("layer=conv1&step=4&kernel=1&weight=0,2&view=dense")
        words = reader.texts(".pair p b")
        wide = explain.dense_equivalent(two_layers[0].untrained_model().get_layer("conv1"), (8, 8, 1))
        one = wide.ties.rows % 5 == 1
        assert number(words[0].split()[0]) == 64 * 64 - one.sum()
        total = number(words[-1].removeprefix("Σ = "))
        row = reader.in_page("microscope.frame.row")
        book = explain.ledger(two_layers[0], "conv1", 4, (0, 2, 0, 1))
        assert total == pytest.approx(book.terms[book.rows == row].sum(), rel=FOUR_DIGITS)

    def test_terms_of_a_file_are_those_of_the_server(self, reader):
        reader.open("layer=conv1&step=4&kernel=2&at=3,4")
        found = reader.in_page("""async () => {
            const { takenApart } = await import("kl/above");
            const page = microscope, at = [3, 4], frame = page.frame;
            const own = (await takenApart(page.data, frame, at)).hops[0];
            const asked = { layer: "conv1", step: 4, row: frame.row, filter: 2, at: "3,4" };
            const path = await page.data.get(`runs/${page.run.key}/path`, asked);
            const hop = path.hops.find(one => one.parts[0]?.layer === "conv2");
            const largest = one => one.parts.slice(0, 5).map(part => part.term);
            return [own.total, hop.total, largest(own), largest(hop)] }""")
        assert found[0] == pytest.approx(found[1], rel=1e-5)
        assert found[2] == pytest.approx(found[3], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_layer(browser, tmp_path, name):
    """The page's own sums are the library's, for every kind of layer: gradient, shares, products."""
    run, *_ = recorded(tmp_path / "run", name)
    step = int(run.ledger_steps[-1])
    server = serve([run.folder])
    try:
        for reader in reading(browser, server):
            reader.open(f"layer=conv&step={step}")
            check_kind(reader, run, step)
    finally:
        server.stop()


def check_kind(reader, run, step):
    found = reader.in_page("""() => {
        const { stage, layer, selection, row } = microscope.frame;
        const at = stage.geometry.output.map(size => size >> 1);
        const { weight, slice, kernel } = selection;
        return { index: layer.index(weight, slice, kernel), shares: [...stage.byImage(weight)],
                 gradient: [...stage.gradient], engine: [...stage.kernel("gradient")],
                 neuron: stage.neuron(row, at) } }""")
    book = explain.ledger(run, "conv", step, tuple(found["index"]))
    shares = np.bincount(book.rows, book.terms, len(found["shares"]))
    size = np.abs(book.terms).sum()
    np.testing.assert_allclose(found["shares"], shares, atol=1e-9 * max(size, 1e-12))
    engine = np.array(found["engine"], float)
    np.testing.assert_allclose(found["gradient"], engine, atol=1e-4 * np.abs(engine).max() + 1e-9)
    assert float(run.gradient("conv", step)[tuple(found["index"])]) in np.float32(found["engine"])
    if found["neuron"]["others"] == 0:
        assert found["neuron"]["own"] + found["neuron"]["bias"] == pytest.approx(
            found["neuron"]["z"], abs=1e-5
        )
    reader.press("e")
