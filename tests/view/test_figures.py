"""Figures: what they show, in which colours, and how they are saved."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from kernelearn import Input, Model, Sequential, layers
from kernelearn.errors import ArgumentError, DataError, NotBuiltError
from kernelearn.models import zoo
from kernelearn.view import plot_data_grid, plot_history, plot_kernels, save_figure

PNG = b"\x89PNG\r\n\x1a\n"


def heat_map(figure):
    return figure.axes[0].images[0]


def shown(figure):
    return heat_map(figure).get_array().compressed()


def test_all_kernels_in_one_scale_with_white_at_zero():
    model = zoo.lenet((12, 12, 1), 10)
    figure = plot_kernels(model)
    kernel = model.get_layer("conv1").kernel.numpy()
    np.testing.assert_allclose(np.sort(shown(figure)), np.sort(kernel.ravel()))
    norm = heat_map(figure).norm
    assert norm.vmax == -norm.vmin == pytest.approx(np.abs(kernel).max())
    middle = np.array(heat_map(figure).cmap(0.5))
    assert middle.min() > 0.9
    assert figure.axes[-1].get_ylabel() == "weight"  # the colour bar


def test_small_kernels_show_their_numbers():
    texts = [t.get_text() for t in plot_kernels(numpy_kernel()).axes[0].texts]
    assert texts == ["0.50", "\u22121.00", "0", "0.25"]
    assert not plot_kernels(np.ones((3, 3, 32, 64))).axes[0].texts


def numpy_kernel():
    return np.array([[0.5, -1.0], [-0.0, 0.25]]).reshape(2, 2, 1, 1)


def test_layer_by_name_index_and_alone():
    model = zoo.lenet((12, 12, 1), 10)
    expected = np.sort(model.get_layer("conv2").kernel.numpy().ravel())
    for figure in (
        plot_kernels(model, "conv2"),
        plot_kernels(model, 2),
        plot_kernels(model.get_layer("conv2")),
    ):
        np.testing.assert_allclose(np.sort(shown(figure)), expected)


def test_kernels_inside_nested_models_are_found():
    x = Input((12, 12, 1))
    model = Model(x, zoo.lenet((12, 12, 1), 3)(layers.RandomFlip()(x)))
    assert "conv1" in plot_kernels(model).axes[0].get_title()
    assert "conv2" in plot_kernels(model, "conv2").axes[0].get_title()


def test_constant_zero_kernel_is_drawn():
    assert shown(plot_kernels(np.zeros((3, 3, 1, 4)))).max() == 0


@pytest.mark.parametrize(
    ("source", "layer", "error", "says"),
    [
        (zoo.lenet((12, 12, 1), 3), "conv9", ArgumentError, "conv1, conv2, dense, classifier"),
        (zoo.lenet((12, 12, 1), 3), "pool1", ArgumentError, "no kernel"),
        (zoo.lenet((12, 12, 1), 3), 99, ArgumentError, "layer must lie in"),
        (Sequential([Input((3,)), layers.ReLU()]), None, ArgumentError, "no layer with a kernel"),
        (layers.Conv2D(3, 3), None, NotBuiltError, "no weights yet"),
    ],
)
def test_refusals(source, layer, error, says):
    with pytest.raises(error, match=says):
        plot_kernels(source, layer)


def test_data_grid_names_classes_and_marks_mistakes():
    images = np.random.default_rng(0).random((5, 6, 6, 1))
    figure = plot_data_grid(images, [0, 1, 0, 1, 0], ["cat", "dog"], predictions=[0, 1, 1, 1, 0], columns=3)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:5] == ["cat", "dog", "cat, not dog", "dog", "cat"]
    colours = {axis.get_title(): axis.title.get_color() for axis in figure.axes}
    assert colours["cat, not dog"] != colours["cat"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_data_grid_takes_any_channels_and_ranges(channels):
    images = np.random.default_rng(0).normal(size=(3, 5, 4, channels))
    drawn = plot_data_grid(images).axes[0].images[0].get_array()
    assert 0 <= drawn.min() <= drawn.max() <= 1


def test_uint8_images_keep_their_brightness():
    drawn = plot_data_grid(np.full((1, 2, 2, 3), 51, np.uint8)).axes[0].images[0].get_array()
    np.testing.assert_allclose(drawn, 0.2)


def test_data_grid_refuses_what_is_no_image():
    with pytest.raises(DataError, match="height, width, channels"):
        plot_data_grid(np.zeros((3, 4)))


def test_history_from_dict_and_file(tmp_path):
    history = {"loss": [2.0, 1.0], "accuracy": [0.5, 0.75], "val_loss": [2.5, 1.5], "learning_rate": [1, 1]}
    path = tmp_path / "history.csv"
    path.write_text("epoch,accuracy,loss,val_loss\n0,0.5,2.0,2.5\n1,0.75,1.0,NA\n")
    for figure in (plot_history(history), plot_history(path)):
        assert [axis.get_title() for axis in figure.axes] == ["loss", "accuracy"]
        training, validation = figure.axes[0].lines
        assert training.get_ydata().tolist() == [2.0, 1.0]
        assert validation.get_label() == "validation"
        assert validation.get_ydata()[0] == 2.5


def test_history_without_epochs_is_refused():
    with pytest.raises(DataError, match="no epoch"):
        plot_history({"loss": []})


def test_saving_chooses_the_format_by_its_ending(tmp_path):
    figure = plot_kernels(numpy_kernel())
    assert save_figure(figure, tmp_path / "a.png").read_bytes().startswith(PNG)
    assert b"<svg" in save_figure(figure, tmp_path / "a.svg").read_bytes()
    with pytest.raises(ArgumentError, match="png"):
        save_figure(figure, tmp_path / "a.docx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a.svg"]


def test_no_global_state_is_touched():
    code = (
        "import sys, numpy as np; import kernelearn.view as v; assert 'matplotlib' not in sys.modules;"
        "v.plot_kernels(np.ones((3, 3, 1, 2))); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
