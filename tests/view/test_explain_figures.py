"""Figures of explanations: they hold the numbers that they are given, and look as they did.

The pictures are compared in small: each figure is drawn at 30 dots per inch and averaged to 48 x 64 grey
cells, so that another version of a font changes little and a lost panel, colour or bar much. After a wanted
change write them anew with `python -m tests.view.test_explain_figures`.
"""

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from kernelearn import Sequential, explain, layers, view
from kernelearn.errors import ArgumentError
from kernelearn.recording import Run
from kernelearn.view import save_figure
from tests.sweeps import some
from tests.view.small_runs import bars_of, recorded_bars

PICTURES = Path(__file__).with_name("explain_figures.npz")
ROWS, COLUMNS = 48, 64


def ledger_of(run, index=(1, 1, 0, 2), layer="edges"):
    return explain.ledger(run, layer, 3, index)


def drawn_ledger(run):
    return explain.plot_ledger(ledger_of(run), class_names=["upright", "level"])


def drawn_updates(run):
    splits = [explain.update_split(run, "edges", step) for step in range(1, 9)]
    return explain.plot_update_split(splits, (1, 1, 0, 2), 4)


def drawn_history(run):
    past = explain.history(run, "edges", (1, 1, 0, 2))
    return explain.plot_weight_history(past, run.trace("edges", (1, 1, 0, 2)), ["upright", "level"])


def drawn_attribution(run, **options):
    images, _ = bars_of(3)
    return explain.plot_attribution(explain.saliency(run.model(), images, **options), images)


def drawn_cam(run):
    images, _ = bars_of(3)
    return explain.plot_attribution(explain.grad_cam(run.model(), images), images, ["upright", "level"])


def drawn_preferred(run):
    found = explain.activation_maximization(run.model(), "parts", [0, 1, 2], steps=8)
    return explain.plot_preferred(found)


def drawn_path(run):
    return explain.plot_delta(explain.delta(run, "edges", *bars_of(), filter=1, step=3))


def small_dense():
    """A network small enough to draw all its neurons, with weights of its own."""
    model = Sequential([layers.Dense(4, activation="relu", input_shape=(3,)), layers.Dense(2)])
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model


FIGURES = {
    "unit": lambda run: explain.plot_unit(explain.unit(run.model(), "parts", 1, image=bars_of(1)[0][0])),
    "neuron": lambda run: explain.plot_unit_neuron(
        explain.unit(run.model(), "edges", 1, (3, 3), bars_of(1)[0][0])
    ),
    "delta": drawn_path,
    "image": lambda run: explain.plot_image_pass(explain.image(run, *bars_of(), step=3)),
    "activation": lambda run: explain.plot_activation(
        explain.activation(run.model(), "edges", bars_of(3)[0]), bars_of(3)[0]
    ),
    "geometry": lambda run: explain.plot_geometry(
        explain.geometry((9, 9, 3), filters=4, kernel_size=3, strides=2, padding="same")
    ),
    "ledger": drawn_ledger,
    "ledger without images": lambda run: explain.plot_ledger(
        explain.ledger(run.ledger("parts", 3), weight=explain.moved_most(run, "parts")[0])
    ),
    "dense ledger": lambda run: explain.plot_ledger(ledger_of(run, (5, 1), "answer")),
    "updates": drawn_updates,
    "one update": lambda r: explain.plot_update_split(explain.update_split(r, "edges", 2), (0, 0, 0, 0)),
    "history": drawn_history,
    "dense equivalent": lambda run: explain.plot_dense_equivalent(
        explain.dense_equivalent(run.model().get_layer("edges"), (8, 8, 1))
    ),
    "filter bank": lambda run: explain.plot_filter_bank(
        explain.filter_bank(run, "edges", samples=99), explain.kernel_health(run, "edges")
    ),
    "filter bank history": lambda run: explain.plot_filter_bank_history(
        explain.filter_bank_history(run, "edges", samples=99)
    ),
    "filmstrip": lambda run: explain.plot_filmstrip(run, "edges"),
    "learning curves": lambda run: explain.plot_learning_curves(explain.learning_curves(run, "parts")),
    "layers compared": lambda run: explain.plot_layers_compared(
        [explain.learning_curves(run, layer) for layer in run.layers]
    ),
    "feature maps": lambda run: explain.plot_feature_maps(
        explain.feature_maps(run.model(), bars_of(3)[0], "edges")["edges"], bars_of(3)[0], "edges"
    ),
    "receptive fields": lambda run: explain.plot_receptive_fields(
        [explain.receptive_field(run.model(), layer) for layer in ("edges", "pool", "parts")]
    ),
    "one receptive field": lambda run: explain.plot_receptive_fields(
        explain.receptive_field(run.model(), "parts", (0, 0)), bars_of(1)[0][0]
    ),
    "patches": lambda run: explain.plot_patches(
        explain.top_patches(run.model(), "parts", bars_of(20)[0], [0, 1, 2], 4)
    ),
    "saliency": drawn_attribution,
    "signed saliency": lambda run: drawn_attribution(run, method="gradient_times_input"),
    "grad-cam": drawn_cam,
    "preferred images": drawn_preferred,
    "kernels": lambda run: view.plot_kernels(run.model(), "edges"),
    "course of a training": lambda run: view.plot_history(
        {"loss": [1.0, 0.5, 0.3], "val_loss": [1.1, 0.6, 0.5], "accuracy": [0.4, 0.7, 0.9]}
    ),
    "images": lambda run: view.plot_data_grid(*bars_of(6), ["upright", "level"], [0, 1, 0, 1, 0, 1]),
    "network": lambda run: view.plot_network(run.model()),
    "neurons": lambda run: view.plot_neurons(small_dense()),
    "runs compared": lambda run: view.plot_runs_compared(explain.compare_runs([run, run], ["one", "other"])),
}


def in_small(figure):
    """(rows, columns) mean brightness of the cells of a figure, 0 to 255."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(30)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    grey = np.asarray(canvas.buffer_rgba())[..., :3].astype(float)
    # Colour counts: blue and red of the same brightness must differ.
    grey = grey @ np.array([0.5, 0.3, 0.2])
    for axis, count in ((0, ROWS), (1, COLUMNS)):
        parts = np.array_split(grey, count, axis=axis)
        grey = np.stack([part.mean(axis=axis) for part in parts], axis=axis)
    return grey.round().astype(np.uint8)


@pytest.mark.parametrize("name", some(FIGURES, quick=len(FIGURES) // 2))
def test_figures_look_as_they_did(name, recorded, tmp_path):
    figure = FIGURES[name](recorded)
    now, then = in_small(figure).astype(float), np.load(PICTURES)[name].astype(float)
    difference = np.abs(now - then)
    assert difference.mean() < 3 and np.quantile(difference, 0.98) < 40, "see the top of this file"
    assert now.std() > 5
    assert save_figure(figure, tmp_path / "figure.png", dpi=60).stat().st_size > 4000


def test_the_comparison_notices_a_lost_panel(recorded):
    figure = drawn_ledger(recorded)
    figure.subfigs[1].axes[0].clear()
    difference = np.abs(in_small(figure).astype(float) - np.load(PICTURES)["ledger"])
    assert difference.mean() >= 3 or np.quantile(difference, 0.98) >= 40


def texts(figure):
    """All text of a figure."""
    import matplotlib.text

    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def test_a_ledger_shows_its_formula_with_numbers(recorded):
    book = ledger_of(recorded)
    words = " ".join(texts(drawn_ledger(recorded))).replace("\n", " ").replace("    ", "")
    assert book.formula.replace(" ", "") in words.replace(" ", "")
    assert f"{book.total:.9g}" in words and f"{book.gradient:.9g}" in words
    top = book.top(1)[0]
    assert f"({top.input:.4g}) \u00d7 ({top.delta:.4g})" in words
    assert f"image {top.image} ({'level' if top.label else 'upright'})" in words


def test_bars_of_a_ledger_sum_to_its_total(recorded):
    book = ledger_of(recorded)
    for axis in drawn_ledger(recorded).subfigs[1].axes:
        if axis.patches:
            widths = [bar.get_width() for bar in axis.patches]
            assert sum(widths) == pytest.approx(book.total, rel=1e-6)


def test_stacked_parts_sum_to_the_update(recorded):
    axis = drawn_updates(recorded).axes[0]
    heights = {}
    for bar in axis.patches:
        place = round(bar.get_x() + bar.get_width() / 2)
        heights[place] = heights.get(place, 0.0) + bar.get_height()
    line = next(line for line in axis.lines if len(line.get_xdata()) == 8)
    for step, update in zip(line.get_xdata(), line.get_ydata()):
        assert heights[step] == pytest.approx(update, abs=1e-6)


def test_signed_maps_have_one_range_around_zero(recorded):
    images = [i for axis in explain.plot_filmstrip(recorded, "edges").axes for i in axis.images]
    limits = {image.get_clim() for image in images if image.get_cmap().name == "weights"}
    ((low, high),) = limits
    assert low == -high
    shown = np.concatenate([image.get_array().ravel() for image in images if image.get_clim() == (low, high)])
    assert np.abs(shown).max() == pytest.approx(high)


def test_ties_have_one_colour_for_one_number(recorded):
    wide = explain.dense_equivalent(recorded.model().get_layer("edges"), (8, 8, 1))
    values, ties = (axis.images[0].get_array() for axis in explain.plot_dense_equivalent(wide, 0, 1).axes[:2])
    kernel = wide.kernel[:, :, 0, 1].ravel()
    there = ~np.isnan(np.ma.filled(ties, np.nan))
    assert there.sum() == 9 * 36
    np.testing.assert_array_equal(values[there], kernel[ties[there].astype(int)])
    with pytest.raises(ArgumentError, match="channel 4"):
        explain.plot_dense_equivalent(wide, channel=4)


def test_refusals(recorded):
    with pytest.raises(ArgumentError, match="at least one update"):
        explain.plot_update_split([], (0,))
    with pytest.raises(ArgumentError, match="not among those"):
        explain.plot_update_split(explain.update_split(recorded, "edges", 2), (0, 0, 0, 0), 5)
    with pytest.raises(ArgumentError, match="4 filters on 1 channels"):
        explain.plot_filmstrip(recorded, "edges", channel=3)
    with pytest.raises(ArgumentError, match="no folder"):
        explain.plot_filmstrip("nowhere", "edges")
    with pytest.raises(ArgumentError, match="positions"):
        explain.plot_feature_maps(np.zeros((3, 4)))
    with pytest.raises(AttributeError, match="plot_nothing"):
        _ = explain.plot_nothing


def test_figures_of_explanations_are_those_of_view():

    names = [n for n in dir(view) if re.match("plot_(?!kernels|history|data|experiment)", n)]
    assert len(names) >= 14
    assert all(getattr(explain, name) is getattr(view, name) for name in names)


def write_pictures():
    """Draw all figures anew into the file that they are compared with."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(recorded_bars(Path(folder) / "run").folder)
        np.savez_compressed(PICTURES, **{name: in_small(make(run)) for name, make in FIGURES.items()})


if __name__ == "__main__":
    write_pictures()
