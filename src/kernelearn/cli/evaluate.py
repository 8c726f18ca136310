"""`kernelearn evaluate RUN [DATA]`: how well a trained network does, overall and for each class."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelearn.cli.explain.answers import PLACE
from kernelearn.cli.preprocessing import CLASS_NAMES, SCALE
from kernelearn.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from kernelearn.cli.run_folder import Training
    from kernelearn.data import Dataset
    from kernelearn.models import Model

_PARTS = ("test", "validation", "train")


def evaluate(
    model: PLACE,
    data: Annotated[
        str | None,
        typer.Argument(help="What to test on; for a run, its own data if left out.", show_default=False),
    ] = None,
    part: Annotated[
        str | None, typer.Option(help="test, validation, train or all. [default: test; all for new DATA]")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 256,
    scale: SCALE = None,
    class_names: CLASS_NAMES = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the confusion matrix.")] = False,
) -> None:
    """Test a trained network: loss, accuracy, and for each class how many of its images are recognised.

    **Examples**

    - `kernelearn evaluate runs/demo`
    - `kernelearn evaluate runs/demo new-photos/ --json`
    - `kernelearn evaluate model.onnx photos/ --scale imagenet`
    """
    from kernelearn.cli.output import say_json
    from kernelearn.cli.preprocessing import compiled, prepared
    from kernelearn.cli.run_folder import load_trained

    network, run = load_trained(model)
    network = prepared(network, scale, class_names)
    dataset = _chosen(network, run, data, part)
    compiled(network, dataset.has_classes, dataset.x_shape)
    results: dict[str, Any] = network.evaluate(dataset, batch_size=batch_size, return_dict=True, verbose=0)
    report = {"examples": len(dataset), "metrics": results}
    if dataset.has_classes:
        report["classes"] = _by_class(network, dataset, batch_size)
    if as_json:
        say_json(report)
    else:
        _show(report)


def _chosen(network: "Model", run: "Training | None", data: str | None, part: str | None) -> "Dataset":
    """The examples to test on.

    Raises: ArgumentError if there is no data, DataError if it has no such part or other images.
    """
    from kernelearn.cli.train.settings import Settings, load_parts

    if part not in (None, "all", *_PARTS):
        raise ArgumentError(f"--part must be one of {', '.join(_PARTS)} or all, got {part!r}.")
    if data is not None:
        return new_data(network, data, part)
    if run is None:
        raise ArgumentError("A model file does not say what to test it on; name the data behind it.")
    parts = load_parts(Settings.from_dict(run.arguments))
    wanted = part or "test"
    if wanted not in parts:
        raise DataError(f"The run has no {wanted} part; it has {', '.join(parts)}. Choose with --part.")
    return parts[wanted]


def new_data(network: "Model", data: str, part: str | None) -> "Dataset":
    """Images of other data, as the network takes them; None for `part` takes all.

    Raises: DataError for images of another shape, or data without that part.
    """
    from kernelearn.cli.run_folder import image_shape
    from kernelearn.cli.train.settings import as_resize, parts_of
    from kernelearn.data import load
    from kernelearn.layers.core.unknown_sizes import fits

    shape = image_shape(network)
    resize = as_resize(network.metadata.get("resize") or ("keep" if None in shape else _size(network, data)))
    loaded = load(
        data,
        test=None if part == "test" else False,
        resize=resize,
        channels=shape[-1] if shape[-1] in (1, 3, 4) and resize is not None else None,
        class_names=network.metadata.get("class_names"),
    )
    if not fits(loaded.input_shape, shape):
        raise DataError(
            f"{data!r} has images of {loaded.input_shape}, the network expects {shape} "
            "(height, width, channels)."
        )
    wanted = "train" if part in (None, "all") else part
    multiple = network.metadata.get("pad")
    parts = parts_of(loaded if multiple is None else loaded.padded(multiple, by_size=True))
    if wanted not in parts:
        raise DataError(f"{data!r} has no {wanted} part; it has {', '.join(parts)}.")
    return parts[wanted]


def _size(network: "Model", data: str) -> list[int] | None:
    """The size that images of files are stretched to, where nobody says how the network was trained."""
    from kernelearn.cli.output import say
    from kernelearn.cli.preprocessing import is_silent_on_size
    from kernelearn.cli.run_folder import image_shape, shape_text

    shape = image_shape(network)
    if len(shape) != 3 or not is_silent_on_size(network) or not Path(data).exists():
        return None
    say(f"Images: made {shape_text(shape)}, as the network takes them.", to_stderr=True)
    return [shape[0], shape[1]]


def _by_class(network: "Model", dataset: "Dataset", batch_size: int) -> dict[str, Any]:
    import numpy as np

    from kernelearn.cli.run_folder import class_names

    scores = network.predict(dataset, batch_size=batch_size, verbose=0)
    classes = scores.shape[-1]
    guesses, labels = scores.argmax(axis=-1), dataset.labels
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, guesses), 1)
    counts, hits = matrix.sum(axis=1), matrix.diagonal()
    return {
        "names": class_names(network, classes),
        "counts": counts.tolist(),
        "recall": (hits / np.maximum(counts, 1)).tolist(),
        "precision": (hits / np.maximum(matrix.sum(axis=0), 1)).tolist(),
        "confusion_matrix": matrix.tolist(),
    }


def _show(report: dict[str, Any]) -> None:
    from kernelearn.cli.output import metric_text, percent, say, say_table

    say(f"{report['examples']:,} examples")
    for name, value in sorted(report["metrics"].items()):
        say(metric_text(name, value).capitalize())
    if "classes" not in report:
        return
    classes = report["classes"]
    rows = []
    for i, name in enumerate(classes["names"]):
        row = [count if j != i else 0 for j, count in enumerate(classes["confusion_matrix"][i])]
        wrong = row.index(max(row))
        mistaken = f"{classes['names'][wrong]} ({row[wrong]})" if row[wrong] else ""
        shares = (percent(classes[key][i]) for key in ("recall", "precision"))
        rows.append((name, str(classes["counts"][i]), *shares, mistaken))
    say_table(("class", "images", "recognised", "right when named", "most often taken for"), rows)
