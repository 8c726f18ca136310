"""What all figures share: names are text and no formulas, and a figure shows itself."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, explain
from kernelearn.layers import Conv2D, Dense, Flatten
from kernelearn.recording import Recorder, Run
from kernelearn.view import plot_data_grid, plot_kernels, save_figure
from kernelearn.view.figure import new_figure

NAME = "x^{$_"


def test_a_dollar_in_any_text_begins_no_formula(tmp_path):
    figure = new_figure((4, 3))
    axis = figure.subplots()
    axis.plot([1, 2], label=NAME)
    axis.set_title(f"${NAME}$")
    axis.set_xticks([0, 1], [NAME, "$a^{$"])
    axis.legend()
    figure.suptitle("$" + NAME)
    save_figure(figure, tmp_path / "f.png")
    save_figure(figure, tmp_path / "f.svg")
    assert all(not one.get_parse_math() for one in figure.findobj(type(axis.title)))


def test_a_figure_is_its_picture_in_a_notebook():
    figure = new_figure((2, 1), dpi=50)
    figure.subplots().plot([1, 2])
    assert figure._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
    assert type(figure).__name__ == "Figure"


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory):
    """A run whose layer and classes have names that matplotlib would read as formulas."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 6, 6, 1)).astype("float32"), np.arange(20) % 3
    model = Sequential(
        [Input((6, 6, 1)), Conv2D(2, 3, name="c$^{$"), Flatten(), Dense(3, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    folder = tmp_path_factory.mktemp("odd")
    model.fit(x, y, epochs=2, verbose=0, callbacks=[Recorder(folder, ledger_every=1, gradients_every=1)])
    return model, x, y, Run(folder)


def test_figures_of_odd_names_can_be_drawn(odd_run, tmp_path):
    model, x, y, run = odd_run
    layer, names = "c$^{$", [NAME, "$b$", "$^{$"]
    figures = {
        "kernels": plot_kernels(model, layer),
        "images": plot_data_grid(x[:4], y[:4], class_names=names),
        "ledger": explain.plot_ledger(explain.ledger(run, layer, 1, (0, 0, 0, 0)), class_names=names),
        "split": explain.plot_update_split([explain.update_split(run, layer, 1)], (0, 0, 0, 0), 1),
        "history": explain.plot_weight_history(
            explain.history(run, layer, (0, 0, 0, 0)), run.trace(layer, (0, 0, 0, 0)), names
        ),
        "curves": explain.plot_learning_curves(explain.learning_curves(run, layer)),
        "film": explain.plot_filmstrip(run, layer),
        "bank": explain.plot_filter_bank(explain.filter_bank(run, layer, samples=19)),
        "fields": explain.plot_receptive_fields([explain.receptive_field(model, layer)]),
        "saliency": explain.plot_attribution(explain.saliency(model, x[:2]), x[:2], names),
    }
    for name, figure in figures.items():
        assert save_figure(figure, tmp_path / f"{name}.png").stat().st_size > 1000
