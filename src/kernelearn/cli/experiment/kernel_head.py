"""`kernelearn experiment ...`: the group, and `kernel-head`: does learning the weights of layers pay?

The experiments on convolution kernels are in `kernels.py`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernelearn.cli.experiment.kernels import COMMANDS

if TYPE_CHECKING:
    import numpy as np

    from kernelearn.kernel_machines.experiments import FewShotResult

experiment = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Repeat a comparison of methods on your data, several seeds, reported as it comes out.",
)

for _command in COMMANDS:
    experiment.command()(_command)


@experiment.command("kernel-head")
def kernel_head(
    data: Annotated[str, typer.Option(help="Anything that `kernelearn data` reads.")] = "digits",
    shots: Annotated[str, typer.Option(help="Images per new class, for example '1 2 5 10'.")] = "1 2 5 10",
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions: classes, weights and images anew.")] = 5,
    network: Annotated[str, typer.Option(help="lenet, vgg_small, resnet20 or resnet18.")] = "lenet",
    epochs: Annotated[int, typer.Option(min=1, help="Of pretraining.")] = 5,
    pretrain_images: Annotated[int, typer.Option(min=1, help="At most so many to pretrain on.")] = 2000,
    test_images: Annotated[int, typer.Option(min=1, help="At most so many to score on.")] = 500,
    c: Annotated[float, typer.Option("--C", help="Of support vectors and logistic regression.")] = 10.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Save a picture here (.png, .svg, .pdf).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every accuracy as JSON.")] = False,
) -> None:
    """Pretrain on half of the classes, freeze, and tell the others apart from a few images each.

    Compares a kernel head that learns the weights of the layers with their uniform sum, the best layer,
    logistic regression on all layers and on the last one, and fine-tuning.

    **Examples**

    - `kernelearn experiment kernel-head`
    - `kernelearn experiment kernel-head --data photos/ --shots "1 5" --seeds 10 -o few-shot.png`
    """
    from kernelearn._optional import require
    from kernelearn.cli.output import counts, say, say_json

    require("sklearn", "kernelearn experiment kernel-head")
    from kernelearn.kernel_machines.experiments import FewShotSettings, few_shot_experiment

    settings = FewShotSettings(
        shots=counts(shots, "--shots"),
        seeds=seeds,
        network=network,
        epochs=epochs,
        pretrain_images=pretrain_images,
        test_images=test_images,
        C=c,
    )
    images, labels = _images(data)
    result = few_shot_experiment(images, labels, settings, lambda line: say(line, to_stderr=True))
    if as_json:
        say_json({"data": data, **result.to_dict()})
    else:
        _show(result)
    if output is not None:
        from kernelearn.kernel_machines.plots import plot_few_shot
        from kernelearn.view import save_figure

        say(f"Picture: {save_figure(plot_few_shot(result), output)}", to_stderr=as_json)


def _images(source: str) -> "tuple[np.ndarray, np.ndarray]":
    """All training images and class numbers of a data set."""
    from kernelearn.data import Dataset, load
    from kernelearn.errors import DataError

    loaded = load(source, test=False)
    if not isinstance(loaded.train, Dataset) or not loaded.classes:
        raise DataError(f"The experiment needs images with classes in memory; {source!r} has none.")
    return loaded.train.arrays()


def _show(result: "FewShotResult") -> None:
    from kernelearn.cli.output import percent, say, say_prose, say_table
    from kernelearn.kernel_machines.experiments import spread

    columns = ("images per class", *map(str, result.settings.shots))
    title = f"{result.new_classes} new classes: accuracy in %, mean and spread of the seeds"
    rows = []
    for name, values in result.accuracy.items():
        cells = zip(100 * values.mean(axis=1), 100 * spread(values))
        rows.append((name, *["-" if mean != mean else f"{mean:.1f} ± {dev:.1f}" for mean, dev in cells]))
    say_table(columns, rows, title)
    say()
    layers = [
        (name, *[f"{weight:.2f}" for weight in values.mean(axis=1)])
        for name, values in result.importance.items()
    ]
    say_table(columns, layers, "Learned weights of the layers, mean of the seeds")
    own = sum(result.pretrained) / len(result.pretrained)
    chance = percent(1 / result.new_classes)
    say_prose(f"Chance {chance}; pretrained networks on their own classes {percent(own)}.")
    say_prose(f"Learned weights minus uniform sum, in points, with standard error: {_gains(result)}.")


def _gains(result: "FewShotResult") -> str:
    words = [
        f"{100 * mean:+.1f} ± {100 * error:.1f} ({shots} images)"
        for shots, mean, error in zip(result.settings.shots, *result.gain())
    ]
    return ", ".join(words)
