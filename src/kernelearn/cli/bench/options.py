"""The options of `kernelearn bench`. What they stand for is `kernelearn.bench.suite.Settings`."""

from pathlib import Path
from typing import Annotated

import typer

NETWORKS = Annotated[
    list[str] | None, typer.Argument(metavar="[NET]...", help="The same as --nets.", show_default=False)
]
AGAINST = Annotated[
    str, typer.Option(help="Peers, with commas; those not installed are left out. none for none.")
]
NETS = Annotated[
    str | None,
    typer.Option(
        help="Networks, with commas; all for these and one of each kind. "
        "[default: lenet,vgg_small,resnet20,resnet18]"
    ),
]

# --- what is measured

TRAINING = Annotated[bool, typer.Option("--training", help="Training steps, and fit.")]
INFERENCE = Annotated[
    bool, typer.Option("--inference", help="Predictions, batch 1 and 256; 1 and 32 of the kinds.")
]
LAYERS = Annotated[
    bool,
    typer.Option(
        "--layers",
        help="Single convolutions; with NET where the time of its step goes, with --inference of its "
        "predictions.",
    ),
]
MEMORY = Annotated[bool, typer.Option("--memory", help="Peak memory of a training process.")]
RECORDER = Annotated[bool, typer.Option("--recorder", help="What recording costs.")]
INPUT = Annotated[bool, typer.Option("--input", help="Training from JPEG files, and its two halves.")]
OWN_CODE = Annotated[bool, typer.Option("--own-code", help="Own layers and losses, beside built-in ones.")]
TRANSFER = Annotated[bool, typer.Option("--transfer", help="Training steps with frozen layers.")]
DISTRIBUTED = Annotated[
    bool, typer.Option("--distributed", help="Two processes beside one; what their exchange costs.")
]
TORCH = Annotated[
    bool,
    typer.Option(
        "--torch",
        help="PyTorch's own loop with our engine in it; nets: lenet, vgg_small, resnet20, resnet18, "
        "mobilenet_v2, resnet50.",
    ),
]
CURVES = Annotated[bool, typer.Option("--curves", help="Cost over batch, images, channels.")]

# --- how

THREADS = Annotated[int | None, typer.Option(min=1, help="Of everybody. [default: 2, or all CPUs]")]
BATCH = Annotated[str | None, typer.Option(help="Batch sizes, such as 32,64. [default: each network's]")]
DTYPE = Annotated[str, typer.Option(help="float32 or bfloat16 (mixed precision).")]
OPTIMIZER = Annotated[str, typer.Option(help="sgd (momentum 0.9) or adam.")]
ENGINE = Annotated[str, typer.Option(help="Ours: cpu (compiled) or reference.")]
ROUNDS = Annotated[int | None, typer.Option(min=1, help="[default: 9; 3 with --quick]")]
NO_COMPILE = Annotated[
    bool, typer.Option("--no-compile", help="Without torch.compile, which takes minutes to prepare.")
]
QUICK = Annotated[bool, typer.Option("--quick", help="Short and rough; without torch.compile.")]
PYTHON = Annotated[
    str | None, typer.Option(help="Interpreter that has the peers and kernelearn. [default: this one]")
]

# --- where it is kept

JSON_FILE = Annotated[Path | None, typer.Option("--json", help="Save all times here.")]
FIGURE = Annotated[Path | None, typer.Option(help="Save a picture here (.png, .svg, .pdf).")]
MARKDOWN = Annotated[
    Path | None, typer.Option(help="Save the tables here, between the file's marks if it has them.")
]
