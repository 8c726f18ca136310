"""The options of `kernelearn train`, in the panels of its help. `settings.py` decides what they mean."""

from pathlib import Path
from typing import Annotated

import typer

_PARTS, _LEARNING, _RUN = "Data", "Learning", "Run"

DATA = Annotated[
    str | None,
    typer.Argument(
        help="digits, a folder, a zip, .npz or .npy; see kernelearn data --help.", show_default=False
    ),
]

# --- learning

MODEL = Annotated[
    str | None,
    typer.Option(
        help="lenet, vgg_small, resnet20, resnet18, a FILE.py with build(input_shape, classes), a "
        "CONFIG.json, or a saved model to go on from. [default: lenet]",
        rich_help_panel=_LEARNING,
    ),
]
EPOCHS = Annotated[
    int | None,
    typer.Option(
        min=1, help="Passes over the data. [default: 30 for digits, else 10]", rich_help_panel=_LEARNING
    ),
]
BATCH_SIZE = Annotated[
    int | None,
    typer.Option(
        min=1, help="Images per update. [default: 32 for digits, else 64]", rich_help_panel=_LEARNING
    ),
]
OPTIMIZER = Annotated[
    str | None,
    typer.Option(help="sgd, adam, adamw, rmsprop, lion, ... [default: adam]", rich_help_panel=_LEARNING),
]
LR = Annotated[
    float | None,
    typer.Option(
        help="Highest learning rate. [default: depends on the optimizer]", rich_help_panel=_LEARNING
    ),
]
SCHEDULE = Annotated[
    str | None,
    typer.Option(
        help="constant, cosine, one-cycle or exponential. [default: one-cycle for digits, else cosine]",
        rich_help_panel=_LEARNING,
    ),
]
SEED = Annotated[
    int | None,
    typer.Option(min=0, help="Of weights, order and augmentation. [default: 0]", rich_help_panel=_LEARNING),
]
AUGMENT = Annotated[
    str | None,
    typer.Option(
        help="Any of flip,crop,shift,rotate,zoom,contrast, or none. [default: shift for digits, else none]",
        rich_help_panel=_LEARNING,
    ),
]
PATIENCE = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Stop after so many epochs without progress; keep the best weights.",
        rich_help_panel=_LEARNING,
    ),
]
ENGINE = Annotated[
    str | None,
    typer.Option(help="What computes. [default: the best one there is]", rich_help_panel=_LEARNING),
]
POLICY = Annotated[
    str | None,
    typer.Option(
        help="Precision: float32, or mixed_bfloat16 (faster on processors that multiply bfloat16). "
        "[default: float32]",
        rich_help_panel=_LEARNING,
    ),
]

FREEZE = Annotated[
    str | None,
    typer.Option(
        help="Layers that keep their weights: names with commas, conv* for all that begin so.",
        rich_help_panel=_LEARNING,
    ),
]
CLASS_WEIGHT = Annotated[
    str | None,
    typer.Option(
        help="Factors of the classes' losses: balanced, one number a class (1,2.5,1), or cat:2,dog:0.5.",
        rich_help_panel=_LEARNING,
    ),
]

# --- data

VAL = Annotated[
    str | None,
    typer.Option(
        help="For validation: a share, a count, a path or none. [default: 0.1]", rich_help_panel=_PARTS
    ),
]
TEST = Annotated[
    str | None,
    typer.Option(help="For testing. [default: the data's own test part, else 0.2]", rich_help_panel=_PARTS),
]
SPLIT_SEED = Annotated[
    int | None,
    typer.Option(min=0, help="Of the division into parts. [default: 0]", rich_help_panel=_PARTS),
]
RESIZE = Annotated[
    str | None,
    typer.Option(
        help="Stretch images to 32 or 32x48; keep: each its own size, for a network of any size.",
        rich_help_panel=_PARTS,
    ),
]
PAD = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="With --resize keep: pad images with zeros to multiples of so many pixels, for fewer sizes.",
        rich_help_panel=_PARTS,
    ),
]
CHANNELS = Annotated[int | None, typer.Option(help="1 for grey, 3 for colour.", rich_help_panel=_PARTS)]

# --- run


def _named_folder(name: str) -> Path:
    """A folder by its name: none would be the one that the command is called in."""
    if not name:
        raise typer.BadParameter("it is empty. Name a folder, or leave --run out for runs/DATA-MODEL-N.")
    return Path(name)


FOLDER = Annotated[
    Path | None,
    typer.Option(
        help="Folder to keep the run in. [default: runs/DATA-MODEL-N]",
        rich_help_panel=_RUN,
        parser=_named_folder,
        metavar="PATH",
    ),
]
RESUME = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in --run, exactly.", rich_help_panel=_RUN)
]
OVERWRITE = Annotated[
    bool, typer.Option("--overwrite", help="Replace the run in --run.", rich_help_panel=_RUN)
]
PROCESSES = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Train with so many processes of this machine, by MPI. For several machines start this command "
        "with mpiexec or srun instead.",
        rich_help_panel=_RUN,
    ),
]
SHARDS = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Parts of a batch, each computed by one process; the same number gives the same bits with any "
        "number of processes. [default: 1; 12 with several processes]",
        rich_help_panel=_LEARNING,
    ),
]
TRANSPORT = Annotated[
    str | None,
    typer.Option(
        help="bfloat16: round the gradients of shards, so that half the bytes travel between processes. "
        "[default: float32]",
        rich_help_panel=_LEARNING,
    ),
]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.", rich_help_panel=_RUN)]
AS_JSON = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON, nothing else.", rich_help_panel=_RUN)
]
