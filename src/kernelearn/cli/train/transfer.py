"""Fine-tuning: a network that was trained before made ready for other data, and what became of it.

What cannot be read from the file is assumed, and said: `adapted` prints each thing that it decides.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelearn.cli import run_folder
from kernelearn.cli.output import say
from kernelearn.cli.preprocessing import front_layers, with_front
from kernelearn.cli.train.recipe import augmentation_layers
from kernelearn.errors import ArgumentError, FormatError
from kernelearn.storage import atomic_write

if TYPE_CHECKING:
    from kernelearn.callbacks import Callback
    from kernelearn.data import Data
    from kernelearn.explain.kernel.movement import Movement
    from kernelearn.layers.core.base import Layer
    from kernelearn.models import Model


@dataclass(frozen=True)
class Plan:
    """What `kernelearn finetune` was told besides what a training is told, as run.json keeps it.

    Attributes:
        until: the last layer that is frozen, or None.
        head_only: freeze everything but the last layer.
        new_head: begin the last layer anew though it has as many outputs as there are classes.
        gradual: epochs from one group of layers released to the next, or None.
        rates: factors of the learning rate: a number, or layer:factor with commas; or None.
        scale: the range of the images that the network takes.
        cache: store what the frozen layers give, where that is possible.
    """

    until: str | None = None
    head_only: bool = False
    new_head: bool = False
    gradual: int | None = None
    rates: str | None = None
    scale: str = "0..1"
    cache: bool = True

    def __post_init__(self) -> None:
        if self.gradual is not None and (self.until is not None or self.head_only):
            raise ArgumentError(
                "--gradual freezes and releases by itself; leave out --freeze and --head, or --gradual."
            )
        if self.head_only and self.until is not None:
            raise ArgumentError("--head freezes everything but the last layer; leave out --freeze.")
        multipliers(self.rates)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def multipliers(text: str | None) -> "dict[str, float] | float | None":
    """`--layer-rates` as `compile` takes it.

    Raises: ArgumentError for anything that is neither a number nor layer:factor.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        if len(words) == 1 and ":" not in words[0]:
            return float(words[0])
        return {name.strip(): float(factor) for name, _, factor in (word.rpartition(":") for word in words)}
    except ValueError:
        raise ArgumentError(
            f"--layer-rates takes one number such as 0.4, or layer:factor with commas; got {text!r}."
        ) from None


def adapted(
    spec: str, plan: Plan, data: "Data", shape: tuple[int, ...], augment: Sequence[str]
) -> "tuple[Model, list[str]]":
    """The network for this data, with random changes of the images in front, and the paths of its new layers.

    Raises: ArgumentError if it takes other images, or has no end that could be replaced.
    """
    from kernelearn.layers.core.unknown_sizes import fits

    model, _ = run_folder.load_trained(Path(spec))
    if len(model.inputs) != 1 or not fits(shape, model.input_shape[1:]):
        raise ArgumentError(
            f"{spec} takes {model.input_shape}, the data has images of {shape} (height, width, channels). "
            "Give --resize and --channels, or another model."
        )
    model, new = _with_head(model, data.classes or 1, plan.new_head, bool(data.classes), spec)
    _freeze(model, plan, new)
    return with_front(with_front(model, front_layers(plan.scale)), _augmentation(model, augment, shape)), new


def _augmentation(model: "Model", names: Sequence[str], shape: tuple[int, ...]) -> "list[Layer]":
    """Random changes of the images, but for those that the network brings along."""
    there = {layer.name for layer in model.layers}
    return [layer for layer in augmentation_layers(names, shape) if layer.name not in there]


def _with_head(
    model: "Model", outputs: int, is_anew: bool, has_classes: bool, spec: str
) -> "tuple[Model, list[str]]":
    """The network with as many outputs as wanted; the path of its new layer, if it has one."""
    shape = model.output_shape
    activation = "softmax" if has_classes else None
    known = {id(layer) for _, layer in model.descendants()}
    if not isinstance(shape, tuple):
        raise ArgumentError(f"{spec} has several outputs, {model.output_names}; fine-tuning takes one.")
    if len(shape) > 2:
        made = model.add_head(outputs, activation, name=_free_name(model))
        told = f"{spec} gives maps {shape[1:]}: a pooling and a new layer for {outputs} classes follow it."
    elif shape[-1] == outputs and not is_anew:
        say(f"Head: the {outputs} outputs of {spec} are kept as they were trained.", to_stderr=True)
        return model, []
    else:
        made = model.replace_head(outputs, activation, name=_free_name(model))
        told = f"the last layer of {spec} had {shape[-1]} outputs and begins anew with {outputs}."
    say(f"Head: {told}", to_stderr=True)
    return made, [path for path, layer in made.descendants() if id(layer) not in known and layer.own_weights]


def _free_name(model: "Model") -> str:
    """A name for the new layer that is the same when a run goes on in another process."""
    taken = {layer.name for _, layer in model.descendants()}
    numbered = ("head", *(f"head_{number}" for number in range(1, len(taken) + 1)))
    return next(name for name in numbered if name not in taken)


def _freeze(model: "Model", plan: Plan, new: list[str]) -> None:
    """Freeze as the plan says.

    Raises: UnknownNameError for a layer that is not there, ArgumentError if nothing is left to train.
    """
    from kernelearn.models.heads import head_layer

    if plan.until is not None:
        model.freeze(until=plan.until)
    if plan.head_only:
        kept = [model.get_layer(path) for path in new] or [head_layer(model)]
        for _, layer in model.descendants():
            if layer.own_weights:
                layer.trainable = any(layer is one for one in kept)
    if not model.trainable_weights:
        raise ArgumentError("Nothing is left to train: freeze fewer layers.")


def callbacks_of(plan: Plan, verbose: Any) -> "list[Callback]":
    """What releases layers while the training runs."""
    from kernelearn.callbacks import GradualUnfreezing

    if plan.gradual is None:
        return []
    return [GradualUnfreezing(every=plan.gradual, verbose=0 if verbose == 0 else 1)]


def cached(model: "Model", plan: Plan, is_recorded: bool, data: "Data") -> Any:
    """The model's `CachedFeatures`, where its frozen layers give the same for the same picture; else None."""
    from kernelearn.data import Dataset
    from kernelearn.models import CachedFeatures

    has_frozen = plan.head_only or plan.until is not None
    parts = (data.train, data.validation)
    if not plan.cache or not has_frozen or is_recorded or not all(_is_plain(p, Dataset) for p in parts):
        return None
    try:
        found = CachedFeatures(model)
    except ArgumentError as error:
        say(f"Features are not stored: {error}", to_stderr=True)
        return None
    last = found.names[0]
    say(
        f"Features: each image goes once through the frozen layers (up to {last}), which are the same in "
        "every epoch.",
        to_stderr=True,
    )
    return found


def _is_plain(part: Any, dataset: type) -> bool:
    return part is None or (isinstance(part, dataset) and not part.has_several_sizes)  # type: ignore[attr-defined]


# --- what became of it


def write_report(folder: Path, model: "Model", origin: str) -> "Movement":
    """Compare with what the training began with, and keep the comparison in the folder."""
    from kernelearn.explain.kernel.movement import movement
    from kernelearn.models import load_model

    start = load_model(folder / run_folder.START, compile=False)
    found = movement(start, model, new=start.metadata.get("new_layers", ()))
    with atomic_write(folder / run_folder.TRANSFER) as file:
        file.write((json.dumps({"origin": origin, **found.to_dict()}, indent=1) + "\n").encode())
    return found


def read_report(folder: Path) -> dict[str, Any] | None:
    """What `write_report` has written; None for another run.

    Raises: FormatError if it is damaged.
    """
    from kernelearn.explain.kernel.movement import Movement

    path = folder / run_folder.TRANSFER
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{str(path)!r} is damaged: {error}.") from error
    Movement.from_dict(values, repr(str(path)))
    return dict(values)


def show_report(folder: Path) -> None:
    """Print the comparison of a finished fine-tuning."""
    from kernelearn.cli.output import say_prose, say_table
    from kernelearn.explain.kernel.movement import Movement

    values = read_report(folder)
    if values is not None:
        found = Movement.from_dict(values)
        table = found.table()
        say_table(table.columns, table.cells())
        say_prose(found.in_words())
