"""`kernelearn summary RUN|MODEL|NAME`: the layers of a network, their shapes and numbers of weights."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelearn.errors import ArgumentError

if TYPE_CHECKING:
    from kernelearn.models import Model


def summary(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN|MODEL|NAME",
            help="A run folder, a file with a model (.kernelearn, .keras, .onnx, ...), FILE.py, CONFIG.json, "
            "or lenet, vgg_small, ...",
            show_default=False,
        ),
    ],
    input_shape: Annotated[
        str, typer.Option(help="Height x width x channels, for a NAME or FILE.py; anyxanyx3: of any size.")
    ] = "32x32x3",
    classes: Annotated[int, typer.Option(min=1, help="Number of classes, for a NAME or FILE.py.")] = 10,
    engine: Annotated[bool, typer.Option("--engine", help="Also show the kernels of each layer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the layers of a network: output shapes, numbers of weights, and how these come about.

    **Examples**

    - `kernelearn summary runs/demo`
    - `kernelearn summary resnet20 --input-shape 28x28x1`
    - `kernelearn summary lenet --engine`
    """
    from kernelearn.cli.output import say_json, say_lines, width

    network = find_network(model, input_shape, classes)
    if as_json:
        say_json(_content(network))
        return
    shape = sizes_of_image(input_shape)
    is_any = engine and None in network.input_shape[1:] and None not in shape
    network.summary(width(), say_lines, engine, input_shape=shape if is_any else None)


def find_network(model: str, input_shape: str, classes: int) -> "Model":
    """The network that a RUN|MODEL|NAME means."""
    from kernelearn.cli.networks import make_network
    from kernelearn.cli.run_folder import is_model_file, load_trained
    from kernelearn.models import zoo

    path = Path(model)
    is_trained = model not in zoo.MODELS and (path.is_dir() or is_model_file(path))
    return load_trained(path)[0] if is_trained else make_network(model, sizes_of_image(input_shape), classes)


def sizes_of_image(text: str) -> tuple[Any, ...]:
    """ "28x28x1" as (28, 28, 1); "anyxanyx3" as (None, None, 3).

    Raises: ArgumentError for anything else.
    """
    sizes = text.lower().split("x")
    if len(sizes) != 3 or not all((size.isdigit() and int(size) > 0) or size == "any" for size in sizes):
        raise ArgumentError(
            "--input-shape takes height x width x channels such as 28x28x1, or anyxanyx3 for a network of "
            f"any image size; got {text!r}."
        )
    return tuple(None if size == "any" else int(size) for size in sizes)


def _content(network: "Model") -> dict[str, Any]:
    from kernelearn.models.summary import summary_rows, totals

    return {
        "name": network.name,
        "layers": [asdict(row) for row in summary_rows(network)],
        "params": asdict(totals(network)),
    }
