"""`kernelearn explain unit`, `delta`, `image`, `activation`, `joint`, `geometry`: numbers, forth and back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelearn.cli.explain.answers import (
    CSV,
    DATA,
    FIGURE,
    JSON,
    LAYER,
    PLACE,
    RUN,
    STEP,
    Explained,
    deliver,
)
from kernelearn.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from kernelearn.cli.sources import Source
    from kernelearn.data import Dataset

FILTER = Annotated[
    int, typer.Option(help="Which channel of the layer's output; for a dense layer which unit.")
]
AT = Annotated[
    str | None, typer.Option(help="Position in the map, such as 7,5. [default: the largest number]")
]
IMAGE = Annotated[
    str | None,
    typer.Option(help="Number of an image in the training data, or a picture file. [default: a probe image]"),
]
_BATCH_IMAGE = Annotated[
    int | None,
    typer.Option(help="Number of an image of the step's batch. [default: the one with the largest error]"),
]
_TOP = Annotated[int, typer.Option(min=1, help="Terms to print.")]


def unit(
    place: PLACE,
    layer: LAYER = None,
    filter: FILTER = 0,
    at: AT = None,
    image: IMAGE = None,
    step: STEP = None,
    data: DATA = None,
    top: _TOP = 10,
    neuron: Annotated[
        bool, typer.Option("--neuron", help="Draw the figure as a neuron, not as arrays.")
    ] = False,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """One number of a feature map: window x kernel + bias, activation, pooling, with every number.

    **Examples**

    - `kernelearn explain unit runs/demo --layer conv1 --filter 1 --at 3,4`
    - `kernelearn explain unit runs/demo --filter 1 --image 400 --figure unit.png`
    - `kernelearn explain unit runs/demo --filter 1 --neuron --figure neuron.png`
    """
    from kernelearn.cli.sources import open_source
    from kernelearn.explain.passes import text
    from kernelearn.explain.passes.forward import unit as unit_of

    source = open_source(place)
    model = source.model(step)
    path, known_step = layer or _first_layer(model), step
    picture = _picture(source, model, image, data)
    found = unit_of(model, path, filter, _position(at), picture)

    def drawn() -> "Figure":
        from kernelearn.view import plot_unit, plot_unit_neuron

        return plot_unit_neuron(found) if neuron else plot_unit(found)

    lines = text.head_lines(found)
    if known_step is not None:
        lines.append(f"The weights are those of step {known_step}.")
    answer = Explained(
        text.tables(found, top), found.to_dict(), drawn, lines, formula=found.formula, rows=found.terms()
    )
    deliver(answer, figure, json, csv)


def delta(
    run: RUN,
    layer: LAYER = None,
    filter: FILTER = 0,
    at: AT = None,
    image: _BATCH_IMAGE = None,
    step: STEP = None,
    data: DATA = None,
    path: Annotated[bool, typer.Option("--path", help="Print the sum at each layer up to the loss.")] = False,
    top: _TOP = 10,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """Where the error of a unit comes from: the units above, the slope, the pooling, up to the loss.

    **Examples**

    - `kernelearn explain delta runs/demo --layer conv1 --filter 1`
    - `kernelearn explain delta runs/demo --layer conv1 --filter 1 --path --figure delta.png`
    """
    from kernelearn.cli.sources import open_source
    from kernelearn.explain.passes import backward_text
    from kernelearn.explain.passes.backward import delta as delta_of

    source = open_source(run)
    recording = source.recording
    chosen = layer or _first_kernel(recording)
    found = delta_of(recording, chosen, _batches(source, data), None, filter, _position(at), image, step)
    sums = [hop.table(top) for hop in found.hops if len(hop.parts) > 1]
    tables = [found.table(), *(sums if path else sums[:1])]

    def drawn() -> "Figure":
        from kernelearn.view import plot_delta

        return plot_delta(found)

    rows = found.above.table() if found.above is not None else found.table()
    deliver(
        Explained(tables, found.to_dict(), drawn, backward_text.head_lines(found), rows=rows),
        figure,
        json,
        csv,
    )


def image(
    run: RUN,
    image: Annotated[
        int | None,
        typer.Option(help="Number of an image of the step's batch. [default: the one with the largest loss]"),
    ] = None,
    step: STEP = None,
    data: DATA = None,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """One picture through one step: forward, the answer, its loss, the errors coming back, what it taught.

    **Examples**

    - `kernelearn explain image runs/demo`
    - `kernelearn explain image runs/demo --step 61 --figure image.png`
    """
    from kernelearn.cli.sources import open_source
    from kernelearn.explain.passes.image import image as image_of

    source = open_source(run)
    found = image_of(source.recording, _batches(source, data), None, image, step)

    def drawn() -> "Figure":
        from kernelearn.view import plot_image_pass

        return plot_image_pass(found)

    tables = [found.table(), found.class_table(), found.share_table()]
    deliver(Explained(tables, found.to_dict(), drawn, found.lines), figure, json, csv)


def activation(
    place: PLACE,
    layer: LAYER = None,
    step: STEP = None,
    data: DATA = None,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """An activation: maps before and behind it, the share set to 0, the slopes, what the pooling keeps.

    **Examples**

    - `kernelearn explain activation runs/demo --layer conv1 --figure relu.png`
    """
    from kernelearn.cli.explain.views import some_images
    from kernelearn.cli.sources import open_source
    from kernelearn.explain.passes.activations import activation as activation_of
    from kernelearn.explain.passes.activations import activation_history

    source = open_source(place)
    model = source.model(step)
    path = layer or _first_layer(model)
    images, _ = some_images(source, model, None, data, 8)
    found = activation_of(model, path, images)
    tables = [found.table()]
    if source.run is not None and step is None and len(source.run.model_steps) > 1:
        tables.append(activation_history(source.run, path, images))

    def drawn() -> "Figure":
        from kernelearn.view import plot_activation

        return plot_activation(found, images)

    deliver(Explained(tables, found.to_dict(), drawn, found.lines), figure, json, csv)


def joint(run: RUN, step: STEP = None, json: JSON = None, csv: CSV = None) -> None:
    """The same step, one number of every kernel, bias and dense weight: gradient, terms, update.

    **Examples**

    - `kernelearn explain joint runs/demo`
    """
    from kernelearn.cli.sources import open_run
    from kernelearn.explain.passes.joint import joint as joint_of

    table = joint_of(open_run(run), step)
    note = (
        "All are trained in the same step by the same rule; a kernel's gradient is a sum over images and "
        "positions, a dense weight's over images alone."
    )
    deliver(Explained([table], table.to_dict(), _no_figure, notes=[note]), None, json, csv)


def geometry(
    place: Annotated[
        Path | None, typer.Argument(metavar="[RUN|MODEL]", help="Take the sizes of a layer of this network.")
    ] = None,
    layer: LAYER = None,
    size: Annotated[str | None, typer.Option(help="Image as rows,columns,channels: 32,32,3.")] = None,
    kernel: Annotated[str, typer.Option(help="Size of the kernel: 5, or 5,3.")] = "3",
    filters: Annotated[int, typer.Option(min=1, help="Number of filters.")] = 1,
    stride: Annotated[str, typer.Option(help="Stride: 2, or 2,1.")] = "1",
    padding: Annotated[str, typer.Option(help="valid or same.")] = "valid",
    dilation: Annotated[str, typer.Option(help="Dilation: 2, or 2,1.")] = "1",
    groups: Annotated[int, typer.Option(min=1, help="Groups of channels.")] = 1,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """Size, kernel, stride, padding, channels, filters -> output size, weights, connections as a dense layer.

    **Examples**

    - `kernelearn explain geometry --size 32,32,3 --kernel 5 --filters 20`
    - `kernelearn explain geometry runs/demo --layer conv2`
    """
    from kernelearn.cli.sources import open_source
    from kernelearn.explain.passes.geometry import geometry as geometry_from
    from kernelearn.explain.passes.geometry import geometry_of

    if (place is None) == (size is None):
        raise ArgumentError(
            "Give a run or model, or --size of the image: --size 32,32,3 --kernel 5 --filters 20."
        )
    if place is not None:
        model = open_source(place).model()
        found = geometry_of(model.get_layer(layer or _first_layer(model)))
    else:
        shape, kernels, strides, dilations = (_sizes(text) for text in (size or "", kernel, stride, dilation))
        found = geometry_from(shape, filters, _one(kernels), _one(strides), padding, _one(dilations), groups)

    def drawn() -> "Figure":
        from kernelearn.view import plot_geometry

        return plot_geometry(found)

    deliver(Explained([found.table()], found.to_dict(), drawn), figure, json, csv)


def hints(run: RUN, json: JSON = None, csv: CSV = None) -> None:
    """What the numbers of a run say is wrong: dead channels, large updates, layers that stand still, ...

    **Examples**

    - `kernelearn explain hints runs/demo`
    """
    from kernelearn.cli.sources import open_run
    from kernelearn.explain.findings import hint_table
    from kernelearn.explain.findings import hints as hints_of

    found = hints_of(open_run(run))
    table = hint_table(found)
    lines = [] if found else ["Nothing stands out in this run."]
    answer = Explained(
        [table] if found else [], [one.to_dict() for one in found], _no_figure, lines, rows=table
    )
    deliver(answer, None, json, csv)


def _no_figure() -> "Figure":
    raise ArgumentError("This answer is a table.")


def _first_layer(model: Any) -> str:
    """The first convolution, or the first layer with a kernel."""
    from kernelearn.explain.kernel.source import first_convolution

    return str(first_convolution(model))


def _first_kernel(run: Any) -> str:
    from kernelearn.explain.choices import first_kernel_layer

    return first_kernel_layer(run)


def _position(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else _sizes(text)


def _sizes(text: str) -> tuple[int, ...]:
    """ "7,5" or "7x5" -> (7, 5).

    Raises: ArgumentError for anything else.
    """
    words = [word for word in text.lower().replace("x", ",").replace(" ", "").split(",") if word]
    if not words or not all(word.lstrip("-").isdigit() for word in words):
        raise ArgumentError(f"Expected whole numbers such as 7,5, got {text!r}.")
    return tuple(map(int, words))


def _one(sizes: tuple[int, ...]) -> int | tuple[int, ...]:
    return sizes[0] if len(sizes) == 1 else sizes


def _picture(source: "Source", model: Any, image: str | None, data: str | None) -> "np.ndarray":
    """The picture asked for: a file, a number in the training data, or the first of the probe images."""
    from kernelearn.cli.explain.views import some_images
    from kernelearn.cli.pictures import load_pictures, picture_paths

    if image is None:
        found, _ = some_images(source, model, None, data, 1)
        return found[0]
    if not image.isdigit():
        return load_pictures(model, picture_paths([Path(image)]), resize=True)[0]
    images = _training_data(source, data)
    if int(image) >= len(images):
        raise ArgumentError(f"--image {image}: the data has images 0 to {len(images) - 1}.")
    picture: np.ndarray = images.subset([int(image)]).arrays()[0][0]
    return picture


def _batches(source: "Source", data: str | None) -> "Dataset | None":
    """What a run was trained on; None, which is what its record has of that, where it does not say."""
    is_elsewhere = data is None and source.training is None
    return None if is_elsewhere else _training_data(source, data)


def _training_data(source: "Source", data: str | None) -> "Dataset":
    from kernelearn.cli.sources import images_of

    return images_of(source, data, "train")
