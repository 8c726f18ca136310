"""Where `kernelearn explain` and `kernelearn report` take runs, models and images from.

A place is the folder of a training (run.json, a model and, with --record, a recording), a folder of a
recording alone, or a file with a model: `run_folder.load_trained` opens them all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kernelearn.errors import ArgumentError, KernelearnError

if TYPE_CHECKING:
    from kernelearn.cli.run_folder import Training
    from kernelearn.data import Dataset
    from kernelearn.models import Model
    from kernelearn.recording import Run


@dataclass(frozen=True)
class Source:
    """What stands at a place.

    Attributes:
        run: its recording, or None for a model alone.
        training: what `kernelearn train` wrote down, or None.
        saved: the model that was saved, or None.
    """

    place: Path
    run: "Run | None" = None
    training: "Training | None" = None
    saved: "Model | None" = None

    @property
    def folder(self) -> Path:
        """Where results are written if nothing else is said: beside the run or the model."""
        return self.place if self.place.is_dir() else self.place.parent

    @property
    def recording(self) -> "Run":
        """The run, which is there.

        Raises: ArgumentError for a model, or a training that was not recorded.
        """
        if self.run is None:
            raise ArgumentError(
                f"{str(self.place)!r} holds a model but no recording, and this reads what happened step by "
                "step. Train with: kernelearn train ... --record"
            )
        return self.run

    def model(self, step: int | None = None) -> "Model":
        """The network; of a run, with the weights of a step (None: the last known).

        Raises: ArgumentError for a step without a recording.
        """
        if step is not None and self.run is None:
            raise ArgumentError("--step needs a recorded run: kernelearn train ... --record")
        if self.saved is not None and step is None:
            return self.saved
        return self.recording.model(step=step)


def open_source(place: Path) -> Source:
    """The run or model at a place.

    Raises: ArgumentError, FormatError if there is neither.
    """
    from kernelearn.cli import run_folder
    from kernelearn.recording import Run
    from kernelearn.recording.files.manifest import INNER_FOLDER, is_run_folder

    if place.exists() and not place.is_dir():
        return Source(place, saved=run_folder.load_trained(place)[0])
    if not (is_run_folder(place) or is_run_folder(place / INNER_FOLDER)):
        if not (place / run_folder.MANIFEST).is_file():
            Run(place)  # says what is missing
        model, about = run_folder.load_trained(place)
        return Source(place, training=about, saved=model)
    outer = place.parent if is_run_folder(place) and place.name == INNER_FOLDER else place
    training = run_folder.Training.load(outer) if (outer / run_folder.MANIFEST).is_file() else None
    has_model = training is not None and (outer / run_folder.MODEL).is_file()
    return Source(outer, Run(place), training, run_folder.load_trained(outer)[0] if has_model else None)


def usual_shape(source: Source, model: "Model") -> tuple[int, ...] | None:
    """Where a network takes images of any size, that of the recorded probe images; None if none is known."""
    import numpy as np

    probes = None if source.run is None else source.run.probe_images
    is_any = None in model.inputs[0].shape[1:]
    return tuple(probes.shape[1:]) if is_any and isinstance(probes, np.ndarray) else None


def open_run(place: Path) -> "Run":
    """The recording at a place.

    Raises: ArgumentError for a model, or a training that was not recorded.
    """
    return open_source(place).recording


def images_of(source: Source, data: str | None, part: str = "test") -> "Dataset":
    """A Dataset to look at: `data`, or the training's own test part; of several sizes those of the commonest.

    Raises: ArgumentError if neither is known; DataError for data that cannot be read.
    """
    from kernelearn.cli.evaluate import new_data
    from kernelearn.cli.train.settings import Settings, load_parts

    if data is not None:
        return _of_one_size(new_data(source.model(), data, None))
    if source.training is None:
        raise ArgumentError(f"{str(source.place)!r} does not say which images to take: give --data.")
    parts = load_parts(Settings.from_dict(source.training.arguments))
    return _of_one_size(parts.get(part, parts["train"]))


def _of_one_size(dataset: "Dataset") -> "Dataset":
    """What explanations take; it is said which images are left out."""
    from kernelearn.cli.output import say
    from kernelearn.cli.run_folder import shape_text

    if dataset.is_padded or not dataset.has_several_sizes:
        return dataset
    found = dataset.of_most_common_size()
    text = f"{len(found):,} of {len(dataset):,} images, those of {shape_text(found.x_shape)}"
    say(f"Images of several sizes: looking at {text}.", to_stderr=True)
    return found


def images_if_known(source: Source, data: str | None) -> "Dataset | None":
    """As `images_of`; None where no data is named and the training's own is not to be had."""
    if data is not None:
        return images_of(source, data)
    try:
        return images_of(source, None)
    except (KernelearnError, OSError):
        return None


def training_if_known(source: Source) -> "Dataset | None":
    """The images that a run was trained on; None where they are not to be had."""
    try:
        return images_of(source, None, "train")
    except (KernelearnError, OSError):
        return None


def weight_of(text: str) -> tuple[str | int, ...]:
    """ "1,0,0,3" or "bias,3" as an index, or a name and an index.

    Raises: ArgumentError for anything else.
    """
    words = [word.strip() for word in text.replace(" ", ",").split(",") if word.strip()]
    name = [words.pop(0)] if words and not words[0].lstrip("-").isdigit() else []
    if not words or not all(word.lstrip("-").isdigit() for word in words):
        raise ArgumentError(
            f"--weight takes an index such as 1,0,0,3 (row, column, channel, filter), or a name and an index "
            f"such as bias,3; got {text!r}."
        )
    return (*name, *map(int, words))


def layer_and_weight(run: "Run", layer: str | None, weight: str | None) -> tuple[str, tuple[str | int, ...]]:
    """(layer, weight) as asked for, or the first convolution and the number of it that moved most."""
    from kernelearn.explain.choices import first_kernel_layer, moved_most

    chosen = layer or first_kernel_layer(run)
    if weight is not None:
        return chosen, weight_of(weight)
    name = run.about.kernel_name(chosen)
    (index,) = moved_most(run, chosen)
    return chosen, index if name in (None, "kernel") else (name, *index)
