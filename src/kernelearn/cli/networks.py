"""What `--model` may be: a name of the zoo, a Python file, a JSON config, a saved model or a run folder."""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from kernelearn.errors import ArgumentError, FormatError, KernelearnError, unknown_name


def make_network(spec: str, input_shape: tuple[int, ...], data_classes: int) -> Any:
    """The network that `--model` names, for images of this shape.

    Args:
        data_classes: number of classes; 0 for real-valued targets, which get one linear output.
    Raises: UnknownNameError listing the names, ArgumentError for a file that gives no model.
    """
    from kernelearn.models import zoo

    if spec in zoo.MODELS:
        activation = "softmax" if data_classes else None
        return zoo.get(spec)(input_shape, data_classes or 1, classifier_activation=activation)
    path = Path(spec)
    if path.is_dir() or path.suffix == ".kernelearn":
        from kernelearn.cli.run_folder import load_trained

        return load_trained(path)[0]
    if path.suffix in (".py", ".json"):
        if not path.is_file():
            raise ArgumentError(f"--model: there is no file {spec!r}.")
        return _from_python(path, input_shape, data_classes) if path.suffix == ".py" else _from_json(path)
    raise unknown_name("model", spec, [*zoo.MODELS, "FILE.py", "CONFIG.json", "MODEL.kernelearn", "RUN"])


def file_digest(spec: str) -> str | None:
    """SHA-256 of the file behind `--model`, so that a run goes on with what it began with; None for names."""
    path = Path(spec)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _from_python(path: Path, input_shape: tuple[int, ...], classes: int) -> Any:
    module_spec = importlib.util.spec_from_file_location(f"kernelearn_user_{path.stem}", path)
    assert module_spec is not None and module_spec.loader is not None  # a path that ends in .py has both
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
        build = getattr(module, "build", None)
        model = build(input_shape, classes or 1) if callable(build) else getattr(module, "model", None)
    except KernelearnError:
        raise
    except Exception as error:
        raise ArgumentError(f"{str(path)!r} failed with {type(error).__name__}: {error}") from error
    if not hasattr(model, "fit"):
        raise ArgumentError(
            f"{str(path)!r} must define a function build(input_shape, classes) that returns a model, or a "
            f"variable model; got {'nothing' if model is None else repr(model)}."
        )
    return model


def _from_json(path: Path) -> Any:
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
    return kinds[kind].from_config(config["config"])
