"""`kernelearn network RUN|MODEL|NAME`: a picture of a network."""

from pathlib import Path
from typing import Annotated

import typer

from kernelearn.cli.summary import find_network


def network(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN|MODEL|NAME",
            help="A run folder, a file with a model (.kernelearn, .keras, .onnx, ...), FILE.py, CONFIG.json, "
            "or lenet, vgg_small, ...",
            show_default=False,
        ),
    ],
    figure: Annotated[Path, typer.Option(help="Draw it into this file (.svg, .png, .pdf).")] = Path(
        "network.svg"
    ),
    neurons: Annotated[
        bool, typer.Option("--neurons", help="Every neuron and weight of a small network.")
    ] = False,
    input_shape: Annotated[
        str, typer.Option(help="Height x width x channels, for a NAME or FILE.py.")
    ] = "32x32x3",
    classes: Annotated[int, typer.Option(min=1, help="Number of classes, for a NAME or FILE.py.")] = 10,
) -> None:
    """Draw a network: feature maps in scale, kernels, numbers of weights, branches and residuals.

    **Examples**

    - `kernelearn network runs/demo --figure network.png`
    - `kernelearn network resnet20 --input-shape 28x28x1`
    """
    from kernelearn.cli.output import say
    from kernelearn.view import plot_network, plot_neurons, save_figure

    found = find_network(model, input_shape, classes)
    drawn = plot_neurons(found) if neurons else plot_network(found)
    say(f"Figure: {save_figure(drawn, figure)}")
