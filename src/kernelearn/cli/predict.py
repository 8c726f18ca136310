"""`kernelearn predict RUN IMAGE...`: which class a network sees in a picture, and how sure it is."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelearn.cli.explain.answers import PLACE
from kernelearn.cli.preprocessing import CLASS_NAMES, SCALE
from kernelearn.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np

    from kernelearn.models import Model

_AT_A_TIME = 256


def predict(
    model: PLACE,
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE|FOLDER...", help="Pictures, and folders of pictures.", show_default=False
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="Show so many classes of each image.")] = 3,
    resize: Annotated[
        bool, typer.Option("--resize", help="Stretch images of another size to what the network expects.")
    ] = False,
    scale: SCALE = None,
    class_names: CLASS_NAMES = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write a table with all probabilities; - prints it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all probabilities.")] = False,
) -> None:
    """Name what is in pictures, with the probability of each class.

    Pictures are decoded as those of the training were: a run trained with `--resize` stretches new ones too,
    and one with `--resize keep` takes pictures of any size.

    **Examples**

    - `kernelearn predict runs/demo digit.png --resize`
    - `kernelearn predict runs/photos new/ --top 1 --csv new.csv`
    - `kernelearn predict runs/photos *.jpg --json`
    - `kernelearn predict model.keras photo.jpg --scale 0..255 --class-names names.txt`
    """
    from kernelearn.cli.output import say_json, write_text
    from kernelearn.cli.pictures import picture_paths
    from kernelearn.cli.preprocessing import prepared
    from kernelearn.cli.run_folder import load_trained

    network = prepared(load_trained(model)[0], scale, class_names)
    paths = picture_paths(images)
    results = [_result(network, path, row, top) for path, row in zip(paths, _shares(network, paths, resize))]
    if as_json:
        say_json(results)
    elif str(csv) != "-":
        _show(results)
    if csv is not None:
        write_text(csv, _as_csv(results), "Table", to_stderr=as_json)


def _shares(network: "Model", paths: Sequence[Path], resize: bool) -> "Iterator[np.ndarray]":
    """Probabilities of the classes for each picture; what the network says where it names no classes."""
    from kernelearn.cli.output import say
    from kernelearn.cli.preprocessing import gives_shares
    from kernelearn.ops import softmax

    is_told = False
    for scores in _scores(network, paths, resize):
        if scores.ndim != 1 or len(scores) == 1 or network.metadata.get("classes") == 0:
            yield scores
            continue
        is_plain = gives_shares(network, network.metadata.get("input_shape"))
        if not is_plain and not is_told:
            say("Probabilities: the softmax of the outputs, which are none themselves.", to_stderr=True)
            is_told = True
        yield scores if is_plain else softmax(scores)


def _scores(network: "Model", paths: Sequence[Path], resize: bool) -> "Iterator[np.ndarray]":
    """What the network says about each picture; so many pictures at a time are in memory."""
    from kernelearn.cli.pictures import load_pictures, padded_as_trained

    for first in range(0, len(paths), _AT_A_TIME):
        pictures = load_pictures(network, paths[first : first + _AT_A_TIME], resize)
        yield from network.predict(padded_as_trained(network, pictures), verbose=0)


def _result(network: "Model", path: Path, scores: "np.ndarray", top: int) -> dict[str, Any]:
    """What the network says about one picture; plain values where it was trained without classes.

    Raises: ArgumentError for a network whose answer is no row of numbers.
    """
    from kernelearn.cli.run_folder import class_names

    if scores.ndim != 1:
        raise ArgumentError(
            f"This network gives maps, of shape {scores.shape} for {path}: no class to name. Use "
            "model.predict in Python, which gives arrays."
        )
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


def _as_csv(results: Iterable[dict[str, Any]]) -> str:
    """One line a picture: its class, the probability of that, and of each class; or the values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, one in enumerate(results):
        shares: dict[str, float] = one.get("probabilities") or dict(enumerate(one["values"]))
        known = ["class", "probability"] if "class" in one else []
        if not number:
            writer.writerow(["image", *known, *shares])
        writer.writerow([one["image"], *(one[name] for name in known), *shares.values()])
    return text.getvalue()


def _show(results: Iterable[dict[str, Any]]) -> None:
    from kernelearn.cli.output import percent, say

    for result in results:
        if "values" in result:
            text = ", ".join(f"{value:.5g}" for value in result["values"])
        else:
            text = ", ".join(f"{one['class']} ({percent(one['probability'])})" for one in result["top"])
        say(f"{result['image']}: {text}")
