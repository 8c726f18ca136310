"""`kernelearn export MODEL --standalone DIR`: a network as a folder that needs NumPy alone."""

from pathlib import Path
from typing import Annotated

import typer

from kernelearn.cli.explain.answers import PLACE
from kernelearn.cli.preprocessing import CLASS_NAMES, SCALE


def export(
    model: PLACE,
    standalone: Annotated[
        Path, typer.Option(help="Write predict.py and weights.npz into this folder.", show_default=False)
    ],
    input_shape: Annotated[
        str | None, typer.Option(help="Height x width x channels, for a network of any size.")
    ] = None,
    scale: SCALE = None,
    class_names: CLASS_NAMES = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export that is there.")] = False,
) -> None:
    """Export a network as plain Python: one readable file that needs NumPy, and its weights.

    `python DIR/predict.py picture.png` names what is in a picture, and `from predict import predict` takes
    arrays, with the results of the engine within rounding. Other kinds of files, such as ONNX, are written by
    `kernelearn convert`.

    **Examples**

    - `kernelearn export runs/demo --standalone deployed/`
    - `kernelearn export model.onnx --standalone deployed/ --class-names names.txt`
    """
    from kernelearn.cli.output import say
    from kernelearn.cli.preprocessing import prepared
    from kernelearn.cli.run_folder import load_trained
    from kernelearn.cli.summary import sizes_of_image
    from kernelearn.conversion.standalone import export_standalone

    network = prepared(load_trained(model)[0], scale, class_names)
    shape = None if input_shape is None else sizes_of_image(input_shape)
    for path in export_standalone(network, standalone, overwrite, shape):
        say(f"Written: {path}")
    say(f"Try it: python {standalone / 'predict.py'} picture.png")
