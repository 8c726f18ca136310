"""`kernelearn predict RUN IMAGE...`: which class a network sees in a picture, and how sure it is."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kernelearn.cli.explain.answers import PLACE
from kernelearn.errors import ArgumentError, DataError


def predict(
    model: PLACE,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG, ...", show_default=False)
    ],
    top: Annotated[int, typer.Option(min=1, help="Show so many classes of each image.")] = 3,
    resize: Annotated[
        bool, typer.Option("--resize", help="Stretch images of another size to what the network expects.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all probabilities.")] = False,
) -> None:
    """Name what is in pictures, with the probability of each class.

    Pictures are decoded as those of the training were: a run trained with `--resize` stretches new ones too.

    **Examples**

    - `kernelearn predict runs/demo digit.png --resize`
    - `kernelearn predict runs/photos *.jpg --top 1 --json`
    """
    import numpy as np

    from kernelearn.cli.output import say_json
    from kernelearn.cli.run_folder import image_shape, load_trained
    from kernelearn.data import load_image

    network, _ = load_trained(model)
    shape = image_shape(network)
    if len(shape) != 3:
        raise ArgumentError(f"This network expects inputs of shape {shape}, which are not images.")
    stretch = resize or network.metadata.get("resize") is not None
    try:
        pictures = np.stack([load_image(path, shape, resize=stretch or None) for path in images])
    except DataError as error:
        raise DataError(str(error).replace("Give resize=True", "Give --resize")) from error
    scores = network.predict(pictures, verbose=0)
    results = [_result(network, path, row, top) for path, row in zip(images, scores)]
    if as_json:
        say_json(results)
    else:
        _show(results)


def _result(network: Any, path: Path, scores: Any, top: int) -> dict[str, Any]:
    """What the network says about one picture; plain values where it was trained without classes."""
    from kernelearn.cli.run_folder import class_names

    names = class_names(network, len(scores))
    if network.metadata.get("classes") == 0 or len(names) != len(scores):
        return {"image": str(path), "values": [float(value) for value in scores]}
    order = scores.argsort()[::-1]
    return {
        "image": str(path),
        "class": names[order[0]],
        "probability": float(scores[order[0]]),
        "top": [{"class": names[i], "probability": float(scores[i])} for i in order[:top]],
        "probabilities": {name: float(score) for name, score in zip(names, scores)},
    }


def _show(results: list[dict[str, Any]]) -> None:
    from kernelearn.cli.output import percent, say

    for result in results:
        if "values" in result:
            text = ", ".join(f"{value:.5g}" for value in result["values"])
        else:
            text = ", ".join(f"{one['class']} ({percent(one['probability'])})" for one in result["top"])
        say(f"{result['image']}: {text}")
