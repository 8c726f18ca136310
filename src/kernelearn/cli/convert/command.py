"""`kernelearn convert IN OUT`: a model into another kind of file, by ending and content, and compared."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernelearn.cli.preprocessing import CLASS_NAMES, SCALE
from kernelearn.errors import ArgumentError, MissingDependencyError

if TYPE_CHECKING:
    import numpy as np

    from kernelearn.cli.convert.comparing import Comparison
    from kernelearn.models import Model

_MOST_IMAGES = 256
_RANDOM_IMAGES = 8


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="A run folder, or a file with a model or with weights.", show_default=False
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="The file: .kernelearn, .keras, .h5, .onnx, .safetensors; .weights.h5, .pt.",
            show_default=False,
        ),
    ],
    check: Annotated[
        str | None,
        typer.Option(
            help="Compare predictions for these images with the programs that IN and OUT are from, where "
            "they are installed. They open the files themselves: only for files that you trust."
        ),
    ] = None,
    weights_into: Annotated[
        str | None,
        typer.Option(help="IN holds weights alone: put them into this network (RUN, MODEL or NAME)."),
    ] = None,
    by_position: Annotated[
        bool, typer.Option("--by-position", help="Pair weights by their order, where names differ.")
    ] = False,
    input_shape: Annotated[
        str | None, typer.Option(help="Height x width x channels, for a network of any size, or a NAME.")
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="Number of classes, for a NAME.")] = 10,
    scale: SCALE = None,
    class_names: CLASS_NAMES = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Convert a model, say what the new file cannot hold, and compare predictions.

    The written file is read again and has to predict the same within rounding; `--check` compares with the
    other programs too. A difference that rounding does not explain ends with exit code 1.

    **Examples**

    - `kernelearn convert model.keras model.onnx --check photos/`
    - `kernelearn convert runs/demo model.keras`
    - `kernelearn convert weights.safetensors model.kernelearn --weights-into resnet18 --by-position`
    """
    from kernelearn.cli.convert import carried
    from kernelearn.cli.output import say, say_json

    if target.exists() and not overwrite:
        raise ArgumentError(f"{str(target)!r} exists already; choose another name, or give --overwrite.")
    original = _loaded(source, weights_into, by_position, input_shape, classes)
    model = _made_ready(original, input_shape, scale, class_names)
    left = carried.write(model, target)
    back, why = carried.try_back(target, model)
    lost = [] if back is None else carried.not_carried(model, target, back)
    images = _images(model, check)
    compared, left_out = _compared(original, model, back, source, target, images, check is not None)
    if as_json:
        found = [one.to_dict() for one in compared]
        say_json(
            {
                "file": str(target),
                "not_carried": lost,
                "why_not": left,
                "compared": found,
                "not_compared": left_out,
            }
        )
    else:
        say(f"Written: {target}")
        for line in lost:
            say(f"Not carried: {line}.")
        if left:
            say(f"The training was left out since {left}.")
        for line in [*([f"The file cannot be read again here: {why}"] if why else []), *left_out]:
            say(line, to_stderr=True)
        for one in compared:
            say(one.in_words())
    if not all(one.is_within for one in compared):
        raise typer.Exit(1)


def _loaded(
    source: Path, into: str | None, by_position: bool, input_shape: str | None, classes: int
) -> "Model":
    """The model of IN, or another network with its weights."""
    from kernelearn.cli.run_folder import load_trained
    from kernelearn.cli.summary import find_network
    from kernelearn.formats.model_files import format_to_read

    if into is None:
        kind = format_to_read(source) if source.is_file() else None
        if kind is not None and kind.weights_only:
            raise ArgumentError(
                f"{str(source)!r} holds weights and no network ({kind.title}). Say which network they are "
                "for: --weights-into RUN, MODEL or NAME."
            )
        return load_trained(source)[0]
    network = find_network(into, input_shape or "32x32x3", classes)
    network.load_weights(source, by_position=by_position)
    return network


def _made_ready(
    model: "Model", input_shape: str | None, scale: str | None, class_names: str | None
) -> "Model":
    """The model with fixed sizes, a layer for the range of its images, and names, where that is asked for."""
    from kernelearn.cli.preprocessing import prepared
    from kernelearn.cli.summary import sizes_of_image
    from kernelearn.models.transfer import with_input_shape

    if input_shape is not None:
        model = with_input_shape(model, sizes_of_image(input_shape))
    return prepared(model, scale, class_names)


def _images(model: "Model", data: str | None) -> "list[np.ndarray]":
    """Inputs to compare on: the first ones of DATA, or random ones."""
    import numpy as np

    from kernelearn.cli.evaluate import new_data

    if data is not None and len(model.inputs) != 1:
        raise ArgumentError(f"--check takes a network of one input; this one has {model.input_names}.")
    if data is not None:
        dataset = new_data(model, data, None)
        x, _ = dataset.subset(range(min(len(dataset), _MOST_IMAGES))).arrays()
        return [np.asarray(x)]
    rng = np.random.default_rng(0)
    shapes = [[32 if size is None else size for size in tensor.shape[1:]] for tensor in model.inputs]
    arrays = [rng.random((_RANDOM_IMAGES, *shape)) for shape in shapes]
    return [array.astype(tensor.dtype) for array, tensor in zip(arrays, model.inputs)]


def _compared(
    original: "Model",
    model: "Model",
    back: "Model | None",
    source: Path,
    target: Path,
    images: "list[np.ndarray]",
    by_others: bool,
) -> "tuple[list[Comparison], list[str]]":
    """Comparisons with the file read again and, where asked for, with both files' own programs."""
    from kernelearn.cli.convert.comparing import compare, exact_outputs, outputs_of

    ours, exact = outputs_of(model, images), exact_outputs(model, images)
    found = []
    if back is not None:
        found.append(compare(f"{target}, read again", ours, outputs_of(back, images), exact))
    left_out = []
    for path, network in ((source, original), (target, model)) if by_others else ():
        one, why = _by_its_program(path, network, images)
        found += [] if one is None else [one]
        left_out += [why] if why else []
    return found, left_out


def _by_its_program(
    path: Path, network: "Model", images: "list[np.ndarray]"
) -> "tuple[Comparison | None, str]":
    """The comparison of a network of ours with its file as computed by the program that it is from."""
    from kernelearn.cli.convert.comparing import compare, exact_outputs, outputs_of
    from kernelearn.cli.convert.origins import alike, runner_for

    runner = runner_for(path) if path.is_file() else None
    if runner is None:
        return None, ""
    try:
        theirs = runner(path, images)
    except MissingDependencyError as error:
        return None, f"Not compared with the program of {path}: {error}"
    ours = outputs_of(network, images)
    aligned = list(alike(theirs, [array.shape for array in ours])) if len(theirs) == len(ours) else theirs
    return compare(f"{path}, by its own program", ours, aligned, exact_outputs(network, images)), ""
