"""What `--model` may be: a name of the zoo, a Python file, a JSON config, a file with a model, a run."""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelearn.cli.output import say
from kernelearn.errors import ArgumentError, FormatError, KernelearnError, unknown_name

if TYPE_CHECKING:
    from kernelearn.models import Model


def make_network(spec: str, input_shape: tuple[int, ...], data_classes: int) -> "Model":
    """The network that `--model` names, for images of this shape.

    Args:
        data_classes: number of classes; 0 for real-valued targets, which get one linear output.
    Raises: UnknownNameError listing the names, ArgumentError for a file that gives no model.
    """
    from kernelearn.models import zoo

    if spec in zoo.MODELS:
        activation = "softmax" if data_classes else None
        return zoo.get(spec)(input_shape, data_classes or 1, classifier_activation=activation)
    from kernelearn.cli.run_folder import is_model_file, load_trained
    from kernelearn.formats.model_files import format_to_write

    path = Path(spec)
    is_named_like_one = path.suffix == ".kernelearn" or format_to_write(path) is not None
    if path.is_dir() or is_model_file(path) or is_named_like_one:
        return _with_head(load_trained(path)[0], input_shape, data_classes, spec)
    if path.suffix in (".py", ".json"):
        if not path.is_file():
            raise ArgumentError(f"--model: there is no file {spec!r}.")
        return _from_python(path, input_shape, data_classes) if path.suffix == ".py" else _from_json(path)
    raise unknown_name(
        "model", spec, [*zoo.MODELS, "FILE.py", "CONFIG.json", "MODEL.kernelearn", "MODEL.keras", "RUN"]
    )


def _with_head(model: "Model", input_shape: tuple[int, ...], data_classes: int, spec: str) -> "Model":
    """A trained network for these images and classes: its last dense layer is made anew if it has to be.

    Raises: ArgumentError if it takes other images, or has no dense layer at its end to replace.
    """
    from kernelearn.layers.core.unknown_sizes import fits

    if not fits(input_shape, model.input_shape[1:]):
        raise ArgumentError(
            f"--model {spec} takes images of {tuple(model.input_shape[1:])}, the data has {input_shape} "
            "(height, width, channels). Give --resize and --channels, or another model."
        )
    outputs, wanted = model.output_shape[-1], data_classes or 1
    if outputs == wanted:
        say(f"Head: the {outputs} outputs of {spec} are kept as they were trained.", to_stderr=True)
        return model
    head = [layer for layer in model.layers if layer.weights][-1]
    if type(head).__name__ != "Dense":
        raise ArgumentError(
            f"--model {spec} has {outputs} outputs, the data {wanted} classes, and its last layer "
            f"{head.name!r} is not Dense, so that it cannot be replaced here. Use kernelearn "
            "finetune, or give a FILE.py that builds the network."
        )
    say(
        f"Head: layer {head.name!r} of {spec} has {outputs} outputs, the data {wanted} classes; it begins "
        "anew, all other weights are kept.",
        to_stderr=True,
    )
    return _with_units(model, head.name, wanted)


def _with_units(model: "Model", head: str, units: int) -> "Model":
    """A copy of a network whose dense layer `head` has another number of units and new weights."""
    from kernelearn.layers.core.base import LAYERS

    config = LAYERS.serialize(model)
    assert config is not None  # only a model that is None has none
    for layer in config["config"]["layers"]:
        if layer["config"].get("name") == head:
            layer["config"]["units"] = units
    made: Model = LAYERS.get(config)
    new = made.weight_paths()
    for path, weight in model.weight_paths().items():
        if not path.startswith(f"{head}/"):
            new[path].assign(weight.numpy())
    return made


def file_digest(spec: str) -> str | None:
    """SHA-256 of the file behind `--model`, so that a run goes on with what it began with; None for names."""
    path = Path(spec)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def run_python(path: Path) -> Any:
    """The module that a Python file of the user's makes.

    Raises: ArgumentError if there is no such file, or it fails.
    """
    if path.suffix != ".py" or not path.is_file():
        raise ArgumentError(f"There is no Python file {str(path)!r}.")
    spec = importlib.util.spec_from_file_location(f"kernelearn_user_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # a path that ends in .py has both
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except KernelearnError:
        raise
    except Exception as error:
        raise ArgumentError(f"{str(path)!r} failed with {type(error).__name__}: {error}") from error
    return module


def _from_python(path: Path, input_shape: tuple[int, ...], classes: int) -> "Model":
    module = run_python(path)
    build = getattr(module, "build", None)
    try:
        model = build(input_shape, classes or 1) if callable(build) else getattr(module, "model", None)
    except KernelearnError:
        raise
    except Exception as error:
        raise ArgumentError(f"{str(path)!r} failed with {type(error).__name__}: {error}") from error
    if model is None or not hasattr(model, "fit"):
        raise ArgumentError(
            f"{str(path)!r} must define a function build(input_shape, classes) that returns a model, or a "
            f"variable model; got {'nothing' if model is None else repr(model)}."
        )
    return model


def _from_json(path: Path) -> "Model":
    from kernelearn.models import Model, Sequential

    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{str(path)!r} is not JSON: {error}.") from error
    kinds: dict[str, Any] = {"Sequential": Sequential, "Model": Model, "Functional": Model}
    kind = config.get("class_name", "") if isinstance(config, dict) else ""
    if kind not in kinds:
        raise FormatError(
            f'{str(path)!r} must hold {{"class_name": "Sequential" or "Model", "config": ...}}, as '
            f"model.get_config() gives it; its class_name is {kind!r}."
        )
    made: Model = kinds[kind].from_config(config["config"])
    return made
