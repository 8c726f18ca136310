"""`kernelearn kernels RUN|MODEL`: every kernel of a layer as a picture."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kernelearn.cli.explain.answers import LAYER, PLACE


def show(
    model: PLACE,
    layer: LAYER = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The picture (.png, .svg, .pdf). [default: LAYER-kernels.png]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the layers and the file as JSON.")] = False,
) -> None:
    """Draw every kernel of a layer in one colour scale, with numbers where there is room.

    **Examples**

    - `kernelearn kernels runs/demo`
    - `kernelearn kernels runs/demo --layer conv2 -o conv2.svg`
    """
    from kernelearn.cli.output import say, say_json
    from kernelearn.cli.run_folder import load_trained
    from kernelearn.view import plot_kernels, save_figure
    from kernelearn.view.figures import layers_with_kernels

    network, _ = load_trained(model)
    figure = plot_kernels(network, layer)
    layers = {one.name: list(one.kernel.shape) for one in layers_with_kernels(network)}
    chosen = layer or _first_convolution(layers)
    path = save_figure(figure, output or _default_place(model, chosen))
    if as_json:
        say_json({"picture": path, "layer": chosen, "layers": layers})
        return
    say(f"Kernels of {chosen}: {path}")
    others = [name for name in layers if name != chosen]
    if others:
        say(f"Other layers: {', '.join(others)} (choose with --layer)")


def _first_convolution(layers: dict[str, Any]) -> str:
    return next((name for name, shape in layers.items() if len(shape) > 2), next(iter(layers)))


def _default_place(model: Path, layer: str) -> Path:
    """Beside what was trained: in the run folder, or next to the model file."""
    return (model if model.is_dir() else model.parent) / f"{layer}-kernels.png"
