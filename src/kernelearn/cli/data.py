"""`kernelearn data DATA`: what a data set holds, before anything is trained on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kernelearn.data.describe import Description


# NOTE: `kernelearn.data.ACCEPTED` holds the same list; it is repeated because importing it loads NumPy.
def data(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="digits; a folder of IDX files (MNIST's format); an image folder or zip by class; "
            ".npz; .npy; CIFAR-10/100 binary; a saved Hugging Face data set.",
            show_default=False,
        ),
    ],
    plot: Annotated[
        Path | None, typer.Option(help="Save a picture of some images of each class (.png, .svg, .pdf).")
    ] = None,
    per_class: Annotated[int, typer.Option(min=1, help="Images of each class in the picture.")] = 8,
    val: Annotated[str | None, typer.Option(help="For validation: a share, a count, a path or none.")] = None,
    test: Annotated[
        str | None, typer.Option(help="For testing. [default: the data's own test part, else 0.2]")
    ] = None,
    split_seed: Annotated[int, typer.Option(min=0, help="Of the division into parts.")] = 0,
    resize: Annotated[
        str | None, typer.Option(help="Stretch images to 32 or 32x48; keep: as they are.")
    ] = None,
    channels: Annotated[int | None, typer.Option(help="1 for grey, 3 for colour.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Describe a data set: counts, balance of the classes, mean and spread of each channel, and warnings.

    **Examples**

    - `kernelearn data digits --plot digits.png`
    - `kernelearn data photos/ --resize 64 --json`
    """
    from kernelearn.cli.output import say, say_json
    from kernelearn.cli.train.recipe import part_of_data
    from kernelearn.cli.train.settings import sizes
    from kernelearn.data import load

    loaded = load(
        source,
        validation=part_of_data(val, "--val") or 0.0,
        test=part_of_data(test, "--test"),
        seed=split_seed,
        resize=sizes(resize),
        channels=channels,
    )
    description = loaded.describe()
    if as_json:
        say_json(description.to_dict())
    else:
        _show(description)
    if plot is not None:
        from kernelearn.view import plot_data_grid, save_figure

        images, labels = loaded.sample(per_class)
        title = f"{loaded.name}: images of the training part"
        figure = plot_data_grid(images, labels, loaded.class_names, columns=_columns(per_class), title=title)
        save_figure(figure, plot)
        say(f"Picture: {plot}", to_stderr=as_json)


def _columns(per_class: int) -> int:
    """Whole classes side by side, about 16 images a row."""
    return per_class * max(1, 16 // per_class)


def _show(found: "Description") -> None:
    from kernelearn.cli.output import say, say_prose, say_table

    say_table(("what", "value"), found.rows(), found.name, headings=False)
    if found.classes:
        say()
        say_table(("class", *found.balance), found.class_rows())
    for text in found.warnings:
        say_prose(f"Warning: {text}")
